// The order and the groups in which the results are shown. Pure functions.

import { BANDS, bandOf, nameOf } from "./describe.js";

/**
 * Results as sections of tiles.
 *
 * @param {object[]} hits In the server's order.
 * @param {{sort: string, group: string, hidden: Set<string>}} view
 * @returns {{band: string | null, tiles: {hit: object, members: object[], others: number}[]}[]} A section for each band if the
 * order follows the bands, else one. `members` are all hits of the tile, `hit` the first of them. `others` counts the further
 * marks: of one picture all in the register, of an applicant those among the results.
 */
export function arrange(hits, { sort, group, hidden }) {
  const shown = hits.filter((hit) => !hidden.has(bandOf(hit)));
  const tiles = grouped(sorted(shown, sort), group);
  if (sort !== "close" || !followsBands(tiles)) return tiles.length ? [{ band: null, tiles }] : [];
  return BANDS.map((band) => ({ band: band === "unknown" ? null : band, tiles: tiles.filter(({ hit }) => bandOf(hit) === band) }))
    .filter((section) => section.tiles.length > 0);
}

/** The number of hits in each band, by its name. */
export function countBands(hits) {
  const counts = new Map(BANDS.map((band) => [band, 0]));
  for (const hit of hits) counts.set(bandOf(hit), counts.get(bandOf(hit)) + 1);
  return counts;
}

function sorted(hits, sort) {
  if (sort === "close") return hits;
  const day = (hit) => hit.metadata.application_date ?? (hit.metadata.year ? `${hit.metadata.year}` : "");
  const orders = {
    newest: (one, other) => day(other).localeCompare(day(one)),
    oldest: (one, other) => (day(one) || "9999").localeCompare(day(other) || "9999"),
    name: (one, other) => nameOf(one).localeCompare(nameOf(other)),
    applicant: (one, other) => (one.metadata.company ?? "\uffff").localeCompare(other.metadata.company ?? "\uffff"),
  };
  return [...hits].sort(orders[sort]); // stable: ties stay in the server's order
}

function grouped(hits, group) {
  const tiles = new Map();
  hits.forEach((hit, index) => {
    const key = keyOf(hit, group) ?? index;
    if (tiles.has(key)) tiles.get(key).members.push(hit);
    else tiles.set(key, { hit, members: [hit] });
  });
  return [...tiles.values()].map(({ hit, members }) => {
    const loaded = members.length - 1;
    return { hit, members, others: group === "picture" ? Math.max(loaded, hit.copies ?? 0) : loaded };
  });
}

function keyOf(hit, group) {
  if (group === "applicant") return hit.metadata.company?.trim().toLowerCase() || null;
  // Logos with exactly the same picture have the same numbers, and each counts the others.
  if (group === "picture" && hit.copies > 0) return `${hit.copies}/${hit.cosine}/${hit.image_score ?? hit.score}`;
  return null;
}

function followsBands(tiles) {
  const ranks = tiles.map(({ hit }) => BANDS.indexOf(bandOf(hit)));
  return ranks.every((rank, index) => index === 0 || ranks[index - 1] <= rank);
}
