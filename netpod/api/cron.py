"""When a cron schedule fires next (pure).

    schedule  minute hour day-of-month month day-of-week, or @hourly @daily @midnight @weekly @monthly @yearly @annually
    field     * or ?, n, n-m, each with /step, separated by commas; n/step goes to the end of the range
    names     jan..dec, sun..sat, in any case; Sunday is 0

When both days are restricted either is enough. A time that the clock skips in spring does not fire; one that comes
twice in autumn fires once.

Source: github.com/robfig/cron parser.go, spec.go.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo

_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_YEARS = 5
"""A schedule that does not fire within five years never does, e.g. February 30."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The values each field allows; `any_day` and `any_weekday` say that the field was * or ?."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    any_day: bool
    any_weekday: bool

    def next(self, after: datetime, zone: tzinfo) -> datetime | None:
        """Return the first moment later than `after`, UTC; None when there is none in five years.

        Args:
            after: With a time zone.
            zone: In which the fields are meant.
        """
        day = after.astimezone(zone).date()
        for _ in range(366 * _YEARS):
            if self._fits(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        moment = _exists(day, hour, minute, zone)
                        if moment is not None and moment > after:
                            return moment
            day += timedelta(days=1)
        return None

    def _fits(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        on_day, on_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return on_day and on_weekday
        return on_day or on_weekday


def _exists(day: date, hour: int, minute: int, zone: tzinfo) -> datetime | None:
    """Return a local time in UTC, None when the clock skips it."""
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    moment = local.astimezone(UTC)
    back = moment.astimezone(zone)
    return moment if (back.hour, back.minute) == (hour, minute) else None


def parse(text: str) -> Schedule:
    """Read a schedule.

    Raises:
        ValueError: it is none; the message says why.
    """
    text = _NAMED.get(text.strip().lower(), text)
    fields = text.split()
    if len(fields) != len(_BOUNDS):
        raise ValueError(f"expected exactly 5 fields, found {len(fields)}: [{text}]")
    names: list[list[str]] = [[], [], [], _MONTHS, _DAYS]
    values = [
        _field(field, low, high, known)
        for field, (low, high), known in zip(fields, _BOUNDS, names, strict=True)
    ]
    return Schedule(
        minutes=values[0],
        hours=values[1],
        days=values[2],
        months=values[3],
        weekdays=values[4],
        any_day=_is_any(fields[2]),
        any_weekday=_is_any(fields[4]),
    )


def _is_any(field: str) -> bool:
    """Tell whether a field leaves its day open; a step restricts it, as in robfig's parser it does not for 1."""
    return any(term in ("*", "?", "*/1", "?/1") for term in field.split(","))


def _field(field: str, low: int, high: int, names: list[str]) -> frozenset[int]:
    found: set[int] = set()
    for term in field.split(","):
        span, slash, every = term.partition("/")
        first_text, dash, last_text = span.partition("-")
        if first_text in ("*", "?") and not dash:
            first, last = low, high
        else:
            first = _number(first_text, low, names)
            last = _number(last_text, low, names) if dash else first
            if slash and not dash:
                last = high
        if slash and not every.isdecimal():
            raise ValueError(f"failed to parse int from {every}")
        step = int(every) if slash else 1
        if step == 0:
            raise ValueError(f"step of range should be a positive number: {term}")
        if first < low:
            raise ValueError(f"beginning of range ({first}) below minimum ({low}): {term}")
        if last > high:
            raise ValueError(f"end of range ({last}) above maximum ({high}): {term}")
        if first > last:
            raise ValueError(f"beginning of range ({first}) beyond end of range ({last}): {term}")
        found.update(range(first, last + 1, step))
    return frozenset(found)


def _number(text: str, low: int, names: list[str]) -> int:
    if text.lower() in names:
        return names.index(text.lower()) + low
    if not text.isdecimal():
        raise ValueError(f"failed to parse int from {text}")
    return int(text)
