"""Words as the index of words has them, and how they sound: spelling rules of English, German, French and Spanish.

A sound is a respelling with one letter for each sound, vowels included, so that two sounds can be compared letter by
letter. The letters are those of English, but for `x` (ship, church), `j` (gin, rouge) and `h` (Spanish jota). A word has
one sound for each language in which it may be read; the language of a mark is not known. Libraries with such rules have
keys that drop the vowels (Metaphone, Cologne phonetics), or no rules for all four languages.
"""

from __future__ import annotations

import functools
import re
import unicodedata
import zlib
from collections.abc import Callable

from anyascii import anyascii

from logo_similarity.field_kinds import words

LONGEST_WORD = 40
LONGEST_SOUND = 3 * LONGEST_WORD
"""No rule makes more than three letters of one."""
LANGUAGES = 4
MOST_WORDS = 24
"""Words of a text that are read; an office's verbal element seldom has more."""
_APOSTROPHES = re.compile("['\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}`]")
_OTHER = re.compile(r"[^a-z0-9]+")
_REPEATED = re.compile(r"(\D)\1+")
_UNSTRESSED = re.compile(r"(?<=.)[aeiouywh]+")
_Language = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]
_VOWEL = re.compile(r"^[aeiou]")

# Rules of each language: a regular expression and the sound. At each letter, the first rule that matches is applied.
_ENGLISH = (
    (r"^x(?=[aeiouy])", "s"), (r"^x(?=.)", "eks"), (r"^[kgp]n", "n"), (r"^ps", "s"), (r"^wr", "r"), (r"who", "ho"),
    (r"wh", "w"), (r"sch", "sk"), (r"tch", "x"), (r"ych", "ik"), (r"ch(?=[lr])|(?<=te)ch", "k"),
    (r"[cs]h|[cst]i(?=o[nu]|a[ln])|ce(?=an$)|t(?=ur[ea])", "x"), (r"ph", "f"), (r"(?<=thr)ough", "u"),
    (r"(?<=[tn])ough$|(?<=^r)ough", "uf"), (r"ough|augh|eau", "o"), (r"eigh", "e"), (r"igh", "i"), (r"gh(?=[aeiou])", "g"),
    (r"gh", ""), (r"rh", "r"), (r"th", "t"), (r"ck|cq", "k"), (r"qu(?=e$)", "k"), (r"qu", "kw"), (r"q", "k"),
    (r"sc(?=[eiy])|c(?=[eiy])", "s"), (r"c", "k"), (r"dge?(?=.?$)|dg(?=[eiy])", "j"), (r"g(?=[eiy])", "j"), (r"x", "ks"),
    (r"z", "s"), (r"mb$", "m"), (r"(?<=[bct])re$", "er"), (r"our$", "or"), (r"iew|eu|ew|oo|ou|ui|ue(?=s?$)", "u"),
    (r"ee|ea|ie|ei|ey(?=s?$)", "i"), (r"ai|ay|ey|a(?=[^aeiouwxy]es?$)", "e"), (r"au|aw|oa|ow|oe(?=s?$)", "o"),
    (r"y(?=[aeiou])", "y"), (r"y", "i"), (r"(?<=..)e(?=s?$)", ""), (r"4", "for"), (r"2", "tu"), (r"8", "et"),
)  # fmt: skip
_GERMAN = (
    (r"sch", "x"), (r"chs", "ks"), (r"ch(?=[lr])", "k"), (r"ch", "x"), (r"ck|c(?=[^eiyh])|c$", "k"), (r"c", "ts"),
    (r"qu", "kw"), (r"q", "k"), (r"ph|pf", "f"), (r"[td]?th|dt", "t"), (r"tz|t?ts|zz?|ti(?=on)", "ts"), (r"v", "f"),
    (r"w", "v"), (r"x", "ks"), (r"j", "y"), (r"ei|ai|ay|ey", "ai"), (r"aeu|eu|oi|oy", "oi"), (r"ae", "a"), (r"oe", "o"),
    (r"ue", "u"), (r"ie", "i"), (r"y", "i"), (r"(?<=[aeiou])h(?![aeiou])", ""), (r"b$", "p"), (r"d$", "t"), (r"g$", "k"),
)  # fmt: skip
_FRENCH = (
    (r"eaux?|aul?[tdx]s?$|(?<=..)o[tsp]s?$|au", "o"), (r"ge(?=[aou])", "j"), (r"gn", "ny"), (r"ch", "x"), (r"ph", "f"),
    (r"qu|q|ck", "k"), (r"gu(?=[eiy])", "g"), (r"g(?=[eiy])", "j"), (r"(?<=[mn])[cdpt]s?$", ""), (r"s?c(?=[eiy])", "s"),
    (r"c", "k"), (r"th", "t"), (r"(?<=[eo]u)x$", ""), (r"x", "ks"), (r"w", "v"), (r"oeu|eu", "e"), (r"ou", "u"),
    (r"oi|oy", "wa"), (r"aill?e?(?=s?$)", "ay"), (r"eill?e?(?=s?$)", "ey"), (r"(?<=..)ier$", "ie"),
    (r"ai[st]?$|[ae]y$|(?<=..)ets?$|(?<=.[b-df-hj-np-tvx])e[rz]$", "e"), (r"ai|ei", "e"), (r"z", "s"),
    (r"(?<=[aeiou])ill?e?(?=s?$)", "y"), (r"(?<=.)e$|(?<=..)es$|(?<=...)ent$", ""),
    (r"[ae][mn](?=[^aeiouymn])|[ae]n$", "an"), (r"[aey]?i[mn](?=[^aeiouymn])|[ae]?in$|u[mn]$", "en"),
    (r"(?<=...[aeiounrl])[tdsp]+$", ""), (r"h", ""), (r"y", "i"),
)  # fmt: skip
_SPANISH = (
    (r"ch|sh", "x"), (r"hu(?=[aeio])", "w"), (r"ph", "f"), (r"h", ""), (r"ll", "y"), (r"qu(?=[ei])", "k"), (r"qu", "kw"),
    (r"q|ck", "k"), (r"gu(?=[ei])", "g"), (r"g(?=[ei])|j", "h"), (r"s?c(?=[ei])|z|^ps|bs(?=[ct])", "s"), (r"c", "k"),
    (r"v", "b"), (r"^x", "s"), (r"x", "ks"), (r"y$", "i"), (r"y(?=[^aeiou])", "i"),
)  # fmt: skip


def fold(text: str) -> list[str]:
    """The words of a text in lower-case Latin letters and digits: "Müller & Söhne" has "muller" and "sohne".

    Other scripts are transliterated. At most `MOST_WORDS` words, each cut at `LONGEST_WORD` letters.
    """
    folded = []
    for word in words(_APOSTROPHES.sub("", text)):
        latin = word if word.isascii() else _OTHER.sub("", anyascii(unicodedata.normalize("NFC", word)).lower())
        if latin:
            folded.append(latin[:LONGEST_WORD])
        if len(folded) == MOST_WORDS:
            break
    return folded


def sounds(word: str) -> tuple[str, ...]:
    """How a folded word may sound, in ascending order: "mueller" sounds "muler" and "muyer".

    Words with one sound in common sound alike.
    """
    respelled = {_REPEATED.sub(r"\1", pattern.sub(replace, word)) for pattern, replace in _languages()}
    return tuple(sorted(respelled - {""})) or (word,)


def sound_code(sound: str) -> int:
    """A number of 32 bits for a sound; two sounds may have the same."""
    return zlib.crc32(sound.encode())


def skeleton_code(sound: str) -> int:
    """The same for its consonants, after an `a` if it begins with a vowel."""
    return zlib.crc32(b"-" + _VOWEL.sub("a", _UNSTRESSED.sub("", sound)).encode())


@functools.cache
def _languages() -> tuple[_Language, ...]:
    return tuple(map(_compile, (_ENGLISH, _GERMAN, _FRENCH, _SPANISH)))


def _compile(rules: tuple[tuple[str, str], ...]) -> _Language:
    """One expression with a group for each rule, and the function that replaces its matches."""
    replacements = ["", *(sound for _, sound in rules)]
    return re.compile("|".join(f"({pattern})" for pattern, _ in rules)), lambda match: replacements[
        match.lastindex or 0
    ]
