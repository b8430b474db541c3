"""Text in, text out: figures are spelled where there is one way to read them, and stay figures everywhere else.

- With a counter: Sino-Korean or native, counters.py tells which. The counter stands apart (세 시, 천구백구십 년), but
  for the months, which are words (유월). So are % and units; 여 makes any counter Sino-Korean (십여 명).
- 10,000 and more, decimals, 3만 5천: Sino-Korean with a counter or without. A decimal that may be a date (6.25) wants
  a counter.
- 3분의 1 and 1/3: 삼분의 일; not 5/8에, a date. 제3공화국: 제삼공화국. 010-1234-5678: 공일공 일이삼사 오육칠팔.
- A number alone of up to three figures is often a name, read in its own way (코로나 19, 갤럭시 3, 119). It is spelled
  behind 은, 는, 을, 를 or a number with a particle (정답은 42, 1에서 10까지), before 이상, 정도 and the like, and
  with a particle at the beginning.

What stays: 25개 (스물다섯 or 이십오), 3권 (세 or 삼), 3달 (세 or 석), ranges and lists (3~4명, 2, 3년), 12:30, 3:2,
6·25, 1990.12.15, -5도, 3+5, 20℃, 007, 5km/h, A4, 갤럭시3. Figures side by side are spelled all or not at all.
"""

import re

from .counters import MEASURES, NATIVE, SINO, SYMBOLS, counted
from .endings import TAIL
from .numerals import decimals, sino, telephone, value

_FIGURES = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
_PART = rf"{_FIGURES}[ ]?(?:[십백천]?[만억조]|[십백천])"
_NUMBER = (
    rf"(?:{_PART}(?:[ ]?{_PART})*(?:[ ]?{_FIGURES})?"
    rf"|{_FIGURES}\.[0-9]+(?:[만억조](?![ ]?[0-9]))?|{_FIGURES})"
)
_NAMES = "|".join(sorted({*SINO, *MEASURES, *NATIVE, "시", "주일"}, key=len, reverse=True))
_SIGNS = "|".join(sorted(map(re.escape, SYMBOLS), key=len, reverse=True))
# Behind a space these are more often words of their own: 3 등의 is "3 and so on", 3 초과 "more than 3".
_NOT_APART = "초과|등|급|항|절|승|패|박(?!스)|반|회의|회로|도로|일과|시도|인도|위로|세로|건의|호의|차의"
_COUNTER = rf"""
    [ ]?(?P<sign>{_SIGNS})(?![A-Za-z0-9])
    |(?P<many>여[ ]?|[ ]여)?(?![ ](?:{_NOT_APART})|초과)(?(many)|[ ]?)(?P<counter>{_NAMES})"""
_ITEM = re.compile(
    rf"""(?:(?P<phone>0[0-9]{{1,2}}-[0-9]{{3,4}}-[0-9]{{4}})(?![0-9])
    |(?P<below>[0-9]+)[ ]?분의[ ]?(?P<above>[0-9]+)(?![0-9])
    |(?P<numerator>[1-9])/(?P<denominator>[1-9]|10)(?![0-9]|에|부터|까지|자)
    |(?P<prefix>오전|오후|약|총|만|각|단|매)?(?P<money>[$₩€£][ ]?)?(?P<number>{_NUMBER})(?![0-9])(?:{_COUNTER})?)
    (?P<tail>{TAIL})(?P<stop>[,.!?;:…·]*)(?=\s|$|[0-9])""",
    re.VERBOSE,
)
_ORDINAL = re.compile(r"제(?P<number>[1-9][0-9]{0,3})(?P<tail>[가-힣]*)(?P<stop>[,.!?;:…]*)(?=\s|$)")
_DIVISIBLE = MEASURES | {"배", "시간"}
_FIGURES_FOLLOW = re.compile(r"(?=[0-9])| (?=\S*[0-9])")
_TOKEN = re.compile(r"(?<!\S)\S*[0-9]\S*")
_REST = re.compile(r"\S*(?: \S*[0-9]\S*)*")  # of this token, and those with figures that follow
_APPROXIMATELY = re.compile(r" ?(?:이상|이하|미만|초과|이내|정도|가량|안팎|남짓)")
_DATE = re.compile(r"(?:[1-9]|1[0-2])\.(?:[1-9]|[12][0-9]|3[01])")
_DECADE = re.compile(r"[1-9]0 ?대 ?(?:초반|중반|후반)")
_READ_SINGLY = {"112", "113", "114", "117", "118", "119", "120", "911"}  # numbers to dial


def spell_numbers(text: str) -> str:
    """The text with every number spelled that can be. It has single spaces; punctuation only where figures are."""
    spelled: list[str] = []
    at = 0
    while token := _TOKEN.search(text, at):
        words, end = _side_by_side(text, token.start())
        spelled += [text[at : token.start()], words]
        at = end
    return "".join([*spelled, text[at:]])


def _side_by_side(text: str, start: int) -> tuple[str, int]:
    """All numbers from here on with nothing but punctuation between them, spelled or as they were; and their end."""
    said: list[str] = []
    at, may_stand_alone = start, start == 0 or text[:start].rstrip().endswith(("은", "는", "을", "를"))
    while True:
        item = _ORDINAL.match(text, at) or _ITEM.match(text, at)
        words = _read(item, may_stand_alone) if item else None
        if item is None or words is None:
            rest = _REST.match(text, item.end() if item else at)
            end = rest.end() if rest else at
            return text[start:end], end
        said.append(words)
        at, may_stand_alone = item.end(), bool(item["tail"])
        follows = _FIGURES_FOLLOW.match(text, at)
        if not follows:
            return " ".join(said), at
        at = follows.end()


def _read(item: re.Match[str], may_stand_alone: bool) -> str | None:
    """One number with what belongs to it."""
    part = item.groupdict()
    tail = part["tail"]
    if item.re is _ORDINAL:
        return f"제{sino(int(part['number']))}{tail}"
    if part["phone"]:
        return telephone(part["phone"]) + tail
    below, above = part["below"] or part["denominator"], part["above"] or part["numerator"]
    if below:
        denominator, numerator = value(below), value(above)
        if denominator is None or numerator is None or not 0 < numerator < denominator:
            return None
        return f"{sino(denominator)}분의 {sino(numerator)}{tail}"
    counter = SYMBOLS[part["sign"]] if part["sign"] else part["counter"]
    if part["money"]:
        if counter or "." in part["number"]:
            return None
        counter = SYMBOLS[part["money"].strip()]
    words = _with_counter(item, counter) if counter else _alone(item, may_stand_alone)
    prefix = f"{part['prefix']} " if part["prefix"] else ""
    return f"{prefix}{words}{tail}" if words else None


def _with_counter(item: re.Match[str], counter: str) -> str | None:
    if "." in item["number"]:
        decimal = _decimal(item["number"]) if counter in _DIVISIBLE and not item["many"] else None
        return f"{decimal} {counter}" if decimal else None
    number = value(item["number"])
    if number is None:
        return None
    if item["many"]:
        return f"{sino(number)}여 {counter}" if number >= 10 else None
    if counter == "대" and _DECADE.match(item.string, item.start("number")):
        return f"{sino(number)} 대"
    return counted(number, counter)


def _alone(item: re.Match[str], may_stand_alone: bool) -> str | None:
    """A number without a counter."""
    text, written, tail = item.string, item["number"], item["tail"]
    if not tail and _FIGURES_FOLLOW.match(text, item.end()):
        return None  # 2, 3년 and what else is a part of something
    if "." in written:
        return None if _DATE.fullmatch(written) else _decimal(written)
    number = value(written)
    if number is None:
        return None
    approximate = _APPROXIMATELY.match(text, item.start("tail")) or (tail.startswith("여") and number >= 10)
    if not written.isdecimal():  # 3만, 1,200
        unlike = 0 < number % 100 < 20  # before a noun that counts natively
        return None if unlike and not tail and not approximate else sino(number)
    ends = "," in item["stop"] or item.end() == len(text)
    begins = item.start() == 0 and tail
    known = written not in _READ_SINGLY and 0 < number < 1000
    return sino(number) if known and (approximate or begins or (may_stand_alone and (tail or ends))) else None


def _decimal(written: str) -> str | None:
    """2.5 or 2.5만."""
    match = re.fullmatch(r"([0-9,]+)\.([0-9]+)(\D?)", written)
    number = value(match[1]) if match else None
    return None if match is None or number is None else f"{sino(number)} 점 {decimals(match[2])}{match[3]}"
