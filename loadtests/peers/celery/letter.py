"""The letter in Jinja2: the harness' own templates, whose expressions are put into Jinja's words when they are read."""

import datetime
import html
import re
from urllib.parse import quote

from jinja2 import Environment

SYMBOLS = {"MUR": "Rs"}
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
]


def date(text, length="long"):
    day = datetime.date.fromisoformat(text)
    long = f"{day.day} {MONTHS[day.month - 1]} {day.year}"
    return f"{DAYS[day.weekday()]} {long}" if length == "full" else long


def money(amount):
    symbol = SYMBOLS.get(amount["currency"], amount["currency"])
    return f"{symbol}\u00a0{amount['minor'] // 100:,}.{amount['minor'] % 100:02}"


def url_encode(text):
    return quote(text, safe="")


def _in_jinja(source):
    def call(match):
        name, *arguments = match.group(1).split()
        return "{{ %s(%s) }}" % (name, ", ".join(arguments)) if arguments else "{{ %s }}" % name

    return re.sub(r"\{\{(.+?)\}\}", call, source)


def _template(source, finalize=None):
    # Jinja's own escaping writes quotation marks as numbers, where handlebars writes names: `finalize` is asked instead.
    environment = Environment(keep_trailing_newline=True, finalize=finalize)
    environment.globals.update(date=date, money=money, url_encode=url_encode)
    return environment.from_string(_in_jinja(source))


class Letter:
    def __init__(self, email):
        self._subject = _template(email["subject"])
        self._html = _template(email["html"], finalize=html.escape)
        self._text = _template(email["text"])

    def render(self, variables):
        return tuple(part.render(variables) for part in (self._subject, self._html, self._text))
