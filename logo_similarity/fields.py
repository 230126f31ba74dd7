"""`Record`, one row of a register. Each of its fields is declared here and nowhere else.

The schema of `metadata.db`, the filters and their posting lists, the readers of sources, the JSON of answers, the API's
model and the documentation are made from `FIELDS`. To add a field, add an attribute to `Record`; the schema of catalogs
changes with it, so raise `catalog.manifest.FORMAT` too.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic

from logo_similarity.facets import EXTRA, Keywords, facet_name
from logo_similarity.field_kinds import (
    Codes,
    Date,
    FreeText,
    JsonValue,
    Keyword,
    Kind,
    Name,
    Number,
    Numbers,
    Reference,
    V,
    canonical_us_design_code,
    canonical_vienna_code,
)

UNREADABLE = "_unreadable"
"""Suffix of the name under which `Record.extra` keeps a value that its field cannot hold."""


def register_field(
    kind: Kind[V],
    description: str,
    *,
    example: V,
    spellings: tuple[str, ...] = (),
    parameter: str | None = None,
    derive: Callable[[Mapping[str, Any]], V] | None = None,
) -> V:
    """Declare a field of `Record`. The arguments are those of `RegisterField`; `parameter` is the field's name by default."""
    declaration = {
        "kind": kind, "description": description, "example": example, "spellings": spellings, "parameter": parameter,
        "derive": derive,
    }  # fmt: skip
    return dataclasses.field(default=kind.empty, metadata=declaration)


def _listed(names: str) -> tuple[str, ...]:
    return tuple(names.split(", "))


def _year_of_application(values: Mapping[str, Any]) -> int | None:
    date = values["application_date"]
    return None if date is None else int(date.year)


def _owner_or_applicant(values: Mapping[str, Any]) -> str | None:
    owner: str | None = values["company"] or values["applicant"]
    return owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One logo of a source, before it has a row in a catalog.

    A field that the source does not provide for this logo is None or an empty tuple.
    """

    logo_id: str
    """Public text id, unique in its source ("US-123456")."""
    filename: str
    """Name of the image, relative to the source's image folder, with "/" between parts; its key in the image store."""
    text: str | None = register_field(
        FreeText(),
        "Words in the logo.",
        example="Example",
        spellings=_listed(
            "mark text, word mark, verbal element, mark, mark verbal element text, trademark, mark "
            "name, wortlaut, marke, markentext, wortbestandteil, libellé, libellé de la "
            "marque, élément verbal, marque, denominación, elemento verbal, marca, nombre de la marca"
        ),
    )
    company: str | None = register_field(
        Name(),
        "Owner, or the applicant if the source names no owner.",
        example="Example Corp",
        spellings=_listed(
            "owner, owner name, holder, holder name, proprietor, owners, inhaber, markeninhaber, firma, "
            "titulaire, propriétaire, nom du titulaire, titular, propietario, nombre del titular, empresa"
        ),
        derive=_owner_or_applicant,
    )
    applicant: str | None = register_field(
        Name(),
        "Applicant.",
        example="Example Holding Ltd",
        spellings=(
            "applicant name",
            "original applicant",
            "applicants",
            "anmelder",
            "déposant",
            "demandeur",
            "solicitante",
        ),
    )
    vienna_codes: tuple[str, ...] = register_field(
        Codes(item="code", canonical=canonical_vienna_code),
        "Vienna classification, padded: `27.05.01`.",
        example=("26.01.01",),
        parameter="vienna",
        spellings=_listed(
            "vienna code, vienna class, vienna classes, vienna, vienna classification, vienna classification "
            "codes, figurative elements, wiener klassifikation, wiener klassen, wiener code, wiener codes, "
            "bildklassen, bildklasse, classification de vienne, classes de vienne, codes de vienne, code de "
            "vienne, vienne, clasificación de viena, clases de viena, códigos de viena, código de viena, viena"
        ),
    )
    us_design_codes: tuple[str, ...] = register_field(
        Codes(item="code", canonical=canonical_us_design_code),
        "US design search codes, padded: `02.01.19`. They are not Vienna codes.",
        example=("02.01.19",),
        parameter="us_design",
        spellings=("design search codes", "design search code", "us design code"),
    )
    nice_classes: tuple[int, ...] = register_field(
        Numbers(item="class", least=1, most=45),
        "Nice classes, 1 to 45.",
        example=(9, 42),
        parameter="nice",
        spellings=_listed(
            "nice class, nice, nice classification, classes, class, international class, international classes, "
            "nizzaklassen, nizzaklasse, nizza, klassen, klasse, leitklasse, classes de nice, "
            "classe de nice, classe, clases de niza, clase de niza, niza, clases, clase"
        ),
    )
    goods: str | None = register_field(
        FreeText(),
        "Goods and services.",
        example="Computer software",
        spellings=_listed(
            "goods and services, goods services, specification, waren und dienstleistungen, waren "
            "dienstleistungen, produits et services, productos y servicios"
        ),
    )
    mark_feature: str | None = register_field(
        Keyword(),
        "What the mark consists of: `word`, `figurative`, `combined` or `other`.",
        example="combined",
        spellings=_listed(
            "mark type, mark category, kind of mark, type of mark, markenform, markenart, type de marque, tipo de marca"
        ),
    )
    status: str | None = register_field(
        Keyword(),
        "Status: `pending`, `registered`, `ended`, `expired` or `unknown`.",
        example="registered",
        spellings=_listed(
            "mark status, legal status, current status, trademark status, rechtsstand, aktenzustand, "
            "markenstatus, statut, état, statut de la marque, estado, situación, estado de la marca"
        ),
    )
    office_status: str | None = register_field(
        Keyword(),
        "Status in the words or codes of the office, where they differ from `status`.",
        example="Section 8 & 15 accepted",
        spellings=("status code",),
    )
    office: str | None = register_field(
        Keyword(),
        "Registering office, as a code: `EM`, `US`.",
        example="US",
        spellings=_listed(
            "office code, registration office code, registration office, amt, office d'enregistrement, oficina"
        ),
    )
    registration_number: str | None = register_field(
        Reference(),
        "Number of the registration.",
        example="1234567",
        spellings=_listed(
            "registration no, reg no, reg number, registered number, registernummer, eintragungsnummer, numéro "
            "d'enregistrement, n° d'enregistrement, número de registro, n.º de registro"
        ),
    )
    application_date: dt.date | None = register_field(  # noqa: RUF009 - returns a field
        Date(),
        "Date of application.",
        example=dt.date(2023, 1, 1),
        spellings=_listed(
            "filing date, filed, date filed, date of application, date of filing, application filing date, "
            "anmeldedatum, anmeldetag, tag der anmeldung, date de dépôt, date dépôt, date de la demande, fecha de "
            "solicitud, fecha solicitud, fecha de presentación"
        ),
    )
    registration_date: dt.date | None = register_field(  # noqa: RUF009 - returns a field
        Date(),
        "Date of registration.",
        example=dt.date(2023, 9, 1),
        spellings=_listed(
            "registered, date registered, date of registration, reg date, eintragungsdatum, eintragungstag, tag "
            "der eintragung, date d'enregistrement, fecha de registro, fecha registro, fecha de concesión"
        ),
    )
    expiry_date: dt.date | None = register_field(  # noqa: RUF009 - returns a field
        Date(),
        "Date on which the registration expires.",
        example=dt.date(2033, 1, 1),
        spellings=_listed(
            "expiration date, expires, renewal due date, date of expiry, ablaufdatum, schutzendedatum, "
            "schutzende, date d'expiration, date d'échéance, fecha de vencimiento, fecha de caducidad, fecha de "
            "expiración"
        ),
    )
    transaction_date: dt.date | None = register_field(  # noqa: RUF009 - returns a field
        Date(), "Date of the office's latest change to the record.", example=dt.date(2024, 2, 1), spellings=("updated",)
    )
    year: int | None = register_field(
        Number(least=1800, most=2200),
        "Year of application: that of `application_date` if the source provides it.",
        example=2023,
        spellings=(
            "application year",
            "filing year",
            "jahr",
            "anmeldejahr",
            "année",
            "année de dépôt",
            "año",
            "año de solicitud",
        ),
        derive=_year_of_application,
    )
    extra: Mapping[str, JsonValue] = dataclasses.field(default_factory=dict, hash=False)
    """Every further column of the source, by name."""
    where: str = dataclasses.field(default="", compare=False)
    """Its position in the source: "results.json[12]", "marks.csv:13", or a path in a folder of images. A catalog does
    not store it."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Record:
        """The record with this `logo_id`, `filename` and `metadata()`, and `where` if it is given.

        Raises:
            KeyError, TypeError, ValueError: a value is missing or of the wrong type.
        """
        return cls(
            logo_id=values["logo_id"],
            filename=values["filename"],
            extra=values["extra"],
            where=values.get("where", ""),
            **{field.name: field.kind.from_json(values[field.name]) for field in FIELDS},
        )

    def metadata(self) -> dict[str, JsonValue]:
        """All fields but the id, the filename and the position, as JSON holds them."""
        values = {field.name: field.kind.to_json(getattr(self, field.name)) for field in FIELDS}
        return {**values, "extra": dict(self.extra)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterField(Generic[V]):
    """The declaration of one field of `Record`. `V` is the type of the attribute."""

    name: str
    """Its attribute, its key in JSON and its default column in a table."""
    kind: Kind[V]
    description: str
    """One line of Markdown, for the API and the documentation."""
    example: V
    spellings: tuple[str, ...]
    """Usual names of its column in tables, besides `name`; case and punctuation do not matter."""
    parameter: str
    """Its name in `Filter.parse`, and thus the parameter of requests and the option of commands that filters by it."""
    derive: Callable[[Mapping[str, Any]], V] | None
    """Computes the value from the other fields; a missing value leaves the source's own."""

    @property
    def column(self) -> str | None:
        """The name of a facet in `Record.extra`; None: a field of `Record`."""
        return self.name.removeprefix(EXTRA) if self.name.startswith(EXTRA) else None

    def value_of(self, record: Record) -> V:
        """The value that a record has."""
        column = self.column
        value: V = getattr(record, self.name) if column is None else self.kind.from_json(record.extra.get(column))
        return value

    def to_text(self, value: V) -> str:
        """The value on one line; empty for a missing value."""
        return self.kind.to_text(value)


FIELDS: tuple[RegisterField[Any], ...] = tuple(
    RegisterField(name=field.name, **{**field.metadata, "parameter": field.metadata["parameter"] or field.name})
    for field in dataclasses.fields(Record)
    if field.metadata
)
"""The fields of a register, in the order of `Record`."""


def merge_records(old: Record, new: Record) -> Record:
    """A later record of a logo over an earlier one: a field that the later one lacks keeps its value."""
    values: dict[str, Any] = {}
    extra = {**old.extra, **new.extra}
    for field in FIELDS:
        value = getattr(new, field.name)
        if value != field.kind.empty:
            values[field.name] = value
            if field.name + UNREADABLE not in new.extra:
                extra.pop(field.name + UNREADABLE, None)
        else:
            values[field.name] = getattr(old, field.name)
    return Record(logo_id=new.logo_id, filename=new.filename or old.filename, extra=extra, where=new.where, **values)


def facet_field(name: str) -> RegisterField[tuple[str, ...]]:
    """The field of a facet, by its name with `EXTRA`. Raises ValueError if no facet can have this name."""
    column = facet_name(name.removeprefix(EXTRA))
    return RegisterField(
        name=EXTRA + column,
        kind=Keywords(),
        description="Further column of the source.",
        example=("red",),
        spellings=(),
        parameter=EXTRA + column,
        derive=None,
    )


def select_fields(names: Collection[str]) -> tuple[RegisterField[Any], ...]:
    """The fields with these names: those of `Record` in its order, then facets in the order of their names here.

    `Manifest.filter_fields` has those of a catalog.
    """
    facets = (facet_field(name) for name in names if name.startswith(EXTRA))
    return (*(field for field in FIELDS if field.name in names), *facets)
