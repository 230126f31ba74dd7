// What the page shows, as one value, and its form in the address. Pure functions.
//
// The state is in the fragment of the address: a server never sees it, so words and codes are in no log of a proxy.

export const EMPTY = Object.freeze({
  words: "",
  logo: "", // id of a logo of the register that is the query
  pictures: [], // digests of uploaded pictures, several views of one mark
  crop: null, // [left, top, right, bottom], fractions of the picture
  invert: false,
  greyscale: false,
  turned: false,
  part: false,
  filters: [], // pairs of a parameter and its expression, as the API takes them
  top: 100,
  sort: "close",
  group: "none",
  hit: "", // id of the open hit
});
export const SORTS = ["close", "newest", "oldest", "name", "applicant"];
export const GROUPS = ["none", "picture", "applicant"];
export const MOST_PICTURES = 4; // of a query, as the service accepts
export const TOPS = [100, 300, 1000];
const OWN = new Set(["words", "logo_id", "picture", "crop", "invert", "greyscale", "turned", "part_of_mark", "top_k", "sort", "group", "hit"]);

/** The fragment of the address, with "#"; "#" alone for the empty state. */
export function toAddress(state) {
  const pairs = new URLSearchParams();
  if (state.words) pairs.append("words", state.words);
  if (state.logo) pairs.append("logo_id", state.logo);
  for (const digest of state.pictures) pairs.append("picture", digest);
  for (const [name, value] of pictureParameters(state)) pairs.append(name, value);
  for (const [parameter, expression] of state.filters) pairs.append(parameter, expression);
  if (state.top !== EMPTY.top) pairs.append("top_k", state.top);
  if (state.sort !== EMPTY.sort) pairs.append("sort", state.sort);
  if (state.group !== EMPTY.group) pairs.append("group", state.group);
  if (state.hit) pairs.append("hit", state.hit);
  return `#${pairs.toString().replaceAll("%2C", ",").replaceAll("%2F", "/")}`;
}

/** The state of a fragment. What is not valid is left out, so an old or damaged link still opens. */
export function fromAddress(fragment) {
  const pairs = new URLSearchParams(fragment.replace(/^#/, ""));
  const crop = (pairs.get("crop") ?? "").split(",").map(Number);
  const top = Number(pairs.get("top_k"));
  return {
    ...EMPTY,
    words: (pairs.get("words") ?? "").slice(0, 200),
    logo: pairs.get("logo_id") ?? "",
    pictures: pairs.getAll("picture").filter((digest) => /^[0-9a-f]{16,64}$/.test(digest)).slice(0, MOST_PICTURES),
    crop: isBox(crop) ? crop : null,
    invert: pairs.get("invert") === "true",
    greyscale: pairs.get("greyscale") === "true",
    turned: pairs.get("turned") === "true",
    part: pairs.get("part_of_mark") === "true",
    filters: [...pairs].filter(([name, value]) => !OWN.has(name) && /^(\w+|extra\..{1,64})$/u.test(name) && value !== ""),
    top: TOPS.includes(top) ? top : EMPTY.top,
    sort: SORTS.includes(pairs.get("sort")) ? pairs.get("sort") : EMPTY.sort,
    group: GROUPS.includes(pairs.get("group")) ? pairs.get("group") : EMPTY.group,
    hit: pairs.get("hit") ?? "",
  };
}

/** How an uploaded picture is looked at, as the API takes it. */
export function pictureParameters({ crop, invert, greyscale, turned, part }) {
  return [
    ...(crop ? [["crop", crop.map((value) => Number(value.toFixed(4))).join(",")]] : []),
    ...(invert ? [["invert", "true"]] : []),
    ...(greyscale ? [["greyscale", "true"]] : []),
    ...(turned ? [["turned", "true"]] : []),
    ...(part ? [["part_of_mark", "true"]] : []),
  ];
}

function isBox(box) {
  const [left, top, right, bottom] = box;
  return box.length === 4 && box.every((value) => value >= 0 && value <= 1) && left < right && top < bottom;
}

/** Whether there is something to search for: a picture, a logo or words. */
export const hasQuery = (state) => state.words !== "" || state.logo !== "" || state.pictures.length > 0;

/** The part of the state that the server's answer depends on, as a text to compare. */
export function searchKey(state) {
  const { words, logo, pictures, crop, invert, greyscale, turned, part, filters, top } = state;
  return JSON.stringify([words, logo, pictures, crop, invert, greyscale, turned, part, filters, top]);
}

/**
 * The choice in one field, from the filters of a state.
 *
 * @returns {{is: string[], not: string[], all: boolean, from: string, to: string, text: string}} `all`: every value must
 * match instead of any.
 */
export function choiceOf(filters, parameter, form) {
  const choice = { is: [], not: [], all: false, from: "", to: "", text: "" };
  const own = filters.filter(([name]) => name === parameter).map(([, expression]) => expression);
  let positive = 0;
  for (const expression of own) {
    if (form === "text") choice.text = expression;
    else if (form === "range" && expression.includes("..")) [choice.from, choice.to] = expression.split("..");
    else if (form === "range") choice.from = choice.to = expression;
    else if (expression.startsWith("-")) choice.not.push(...expression.slice(1).split(","));
    else {
      positive += 1;
      choice.is.push(...expression.split(","));
    }
  }
  choice.all = positive > 1;
  return choice;
}

/** The filters with another choice in one field. */
export function withChoice(filters, parameter, form, choice) {
  const others = filters.filter(([name]) => name !== parameter);
  const own = [];
  if (form === "text" && choice.text) own.push(choice.text);
  if (form === "range" && (choice.from || choice.to)) own.push(`${choice.from}..${choice.to}`);
  if (form === "list") {
    if (choice.all) own.push(...choice.is);
    else if (choice.is.length) own.push(choice.is.join(","));
    own.push(...choice.not.map((value) => `-${value}`));
  }
  return [...others, ...own.map((expression) => [parameter, expression])];
}
