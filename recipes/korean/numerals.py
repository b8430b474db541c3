"""A whole number in, the words for it out: Sino-Korean, native before a noun that is counted, or figure by figure."""

import re

_SINO = " 일이삼사오육칠팔구"
_PLACES = ("", "십", "백", "천")
_MYRIADS = ("", "만", "억", "조", "경")  # a space behind each: 한글 맞춤법, article 44
LARGEST = 10_000 ** len(_MYRIADS) - 1

# Before a noun: 스물 alone is 스무, 하나 is 한 ...
_ONES = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")


def sino(number: int) -> str:
    """0 to LARGEST: 0 영, 10 십, 1990 천구백구십, 10,000 만, 123,456,789 일억 이천삼백사십오만 육천칠백팔십구."""
    if number == 0:
        return "영"
    groups: list[str] = []
    for myriad in _MYRIADS:
        number, four_figures = divmod(number, 10_000)
        if four_figures:
            groups.append(_below_myriad(four_figures) + myriad)
    if groups[-1] == "일만":  # but 일억 일만, and 일억
        groups[-1] = "만"
    return " ".join(reversed(groups))


def native(number: int) -> str:
    """1 and more, as before a noun: 1 한, 20 스무, 21 스물한; the hundreds are Sino-Korean: 101 백한."""
    hundreds, rest = divmod(number, 100)
    counted = _TENS[rest // 10] + _ONES[rest % 10]
    return (sino(hundreds * 100) if hundreds else "") + ("스무" if counted == "스물" else counted)


def decimals(figures: str) -> str:
    """What stands behind the point, one by one: 05 영오."""
    return figures.translate(str.maketrans("0123456789", "영" + _SINO[1:]))


def telephone(figures: str) -> str:
    """One by one, 0 being 공, with a space for each hyphen: 010-1234 공일공 일이삼사."""
    return figures.translate(str.maketrans("0123456789-", "공" + _SINO[1:] + " "))


def _below_myriad(number: int) -> str:
    """1 to 9999; 십, 백 and 천 take no 일."""
    read = ""
    for place in _PLACES:
        number, figure = divmod(number, 10)
        if figure:
            read = ("" if figure == 1 and place else _SINO[figure]) + place + read
    return read


def value(written: str) -> int | None:
    """Of figures with 십, 백, 천, 만, 억, 조: 3만 5천 is 35,000; None where it is not one number (3만 5만, 007)."""
    total = group = 0
    place_above = myriad_above = LARGEST
    for figures, place, myriad in re.findall(r"([0-9,]+) ?([십백천]?)([만억조]?)", written):
        digits = figures.replace(",", "")
        if len(digits) > len(str(LARGEST)):
            return None
        place_value = 10 ** _PLACES.index(place)
        term = int(digits) * place_value
        if (digits[0] == "0" and written != "0") or (place and len(digits) > 1) or (group and term >= place_above):
            return None
        group, place_above = group + term, place_value
        if myriad:
            myriad_value = 10_000 ** _MYRIADS.index(myriad)
            if group >= 10_000 or myriad_value >= myriad_above:
                return None
            total, group, myriad_above = total + group * myriad_value, 0, myriad_value
    return total + group if group < myriad_above and total + group <= LARGEST else None
