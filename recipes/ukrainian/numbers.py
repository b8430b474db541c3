"""Words in, words out: figures are spelled where their form is certain, and stay figures everywhere else.

Ukrainian numerals have case and gender, which figures do not show, so what stands beside them has to tell:

- 21 хвилину, 2 гривні: the noun, whose gender and forms are listed below, has the form that goes with a nominative or
  accusative numeral and with no other.
- 5 років, 16 депутатів, 20 нових членів: after 5 and more it is the genitive plural (of a noun listed, or any in -ів),
  which goes with a genitive numeral as well. So the word before has to make sure that this is none: a verb, a
  preposition with the accusative, one of the words listed, or nothing. близько 5 років, ціна 5 книг: the figures stay.
- 5 тис. грн, 12 км, $5 млн, 3 €: a unit written short shows no case, so the same holds for all numbers but 1 of a
  feminine. After тисяч, мільйонів ... a unit is spelled, too.
- 1991 рік, року, році, роком; у 1991 р., 24 серпня 1991 р.: an ordinal in the noun's case. 1,000 is read тисяча.
- до 24 серпня, на 24 серпня: genitive after до, від, з, після; neuter after на, за, по. A day without any stays.
- 2-го, 90-х, 5-та: the ordinal that has this ending, if there is one only; 5-й with a noun in -і is feminine (п'ятій),
  with a consonant masculine (п'ятий).
- № 5, номер 5: номер п'ять. 10 000: groups of three figures are one number.

What stays: figures alone, decimals, times, ranges, sums, 007, %, 5-річний, 5 нових книг, Roman figures. Figures lie
outside the alphabet, so prepare counts their utterance instead of training on a guess.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from asrkit.text import number_in_words

_MANY_DIGITS = 12  # longer figures are no numbers
_LARGEST_NAME = 999  # a larger one may be read in pieces (№ 8755: вісімдесят сім п'ятдесят п'ять)


@dataclass(frozen=True)
class _Noun:
    """The forms beside 1, 2 to 4, and 5 or more; of feminine nouns that beside 1 in the accusative, too."""

    one: str
    few: str
    many: str
    accusative: str = ""

    @property
    def feminine(self) -> bool:
        return bool(self.accusative)


_MASCULINE = """
    рік роки років|місяць місяці місяців|тиждень тижні тижнів|день дні днів|раз рази разів|чоловік - чоловік|
    долар долари доларів|рубль рублі рублів|цент центи центів|фунт фунти фунтів|відсоток відсотки відсотків|
    процент проценти процентів|градус градуси градусів|метр метри метрів|кілометр кілометри кілометрів|
    сантиметр сантиметри сантиметрів|міліметр міліметри міліметрів|грам грами грамів|кілограм кілограми кілограмів|
    літр літри літрів|гектар гектари гектарів|мільйон мільйони мільйонів|мільярд мільярди мільярдів|
    трильйон трильйони трильйонів|бал бали балів|учень учні учнів|студент студенти студентів"""
# 21 година is also an hour of the day (двадцять перша)
_FEMININE = """
    - години годин годину|хвилина хвилини хвилин хвилину|секунда секунди секунд секунду|доба доби діб добу|
    гривня гривні гривень гривню|копійка копійки копійок копійку|тисяча тисячі тисяч тисячу|тонна тонни тонн тонну|
    особа особи осіб особу|людина людини людей людину"""
_NOUNS = [_Noun(*forms.split()) for forms in f"{_MASCULINE}|{_FEMININE}|- євро євро".split("|")]
_BY_FORM = {form: noun for noun in _NOUNS for form in (noun.one, noun.few, noun.many, noun.accusative) if len(form) > 1}

_SYMBOLS = {"$": _BY_FORM["долар"], "€": _BY_FORM["євро"], "₴": _BY_FORM["гривня"]}
_SCALES = {"тис": "тисяча", "млн": "мільйон", "млрд": "мільярд", "трлн": "трильйон"}
_SCALE_NOUNS = [_BY_FORM[name] for name in _SCALES.values()]
_UNITS = dict(
    грн="гривня", коп="копійка", км="кілометр", см="сантиметр", мм="міліметр", кг="кілограм", га="гектар",
    хв="хвилина", год="години", сек="секунда", дол="долар",
)  # fmt: skip
_LETTERS = dict(м="метр", г="грам", л="літр", т="тонна")  # units without a full stop; with one they may be other things
_TO_DATE = {"до", "від", "з", "із", "зі", "після"}  # with the genitive
_ON_DATE = {"на", "за", "по"}  # with the accusative
_PREPOSITIONS = _TO_DATE | {"у", "в", "о", "об", "при", "без", "для", "близько", "протягом", "упродовж", "впродовж"}
# What stands before a numeral in the nominative or accusative: these words, verbs but for some, and larger units.
_ADVERBS = """
    приблизно орієнтовно щонайменше щонайбільше загалом рівно лише лиш тільки ще вже уже майже аж зокрема ніж мінімум
    максимум всього усього разом"""
_OTHERS = """
    на за через про понад по ось це то і й та або чи а але що щоб де коли якщо бо як потрібно треба можна є було буде
    були ці ті всі усі перші останні наступні інші кожні додаткові мені тобі йому їй нам вам їм собі"""
_SKIPPED = set(_ADVERBS.split())
_NOMINATIVE = {
    *("", "мільйон", *_SKIPPED, *_OTHERS.split()),
    *(form for noun in _NOUNS for form in (noun.few, noun.many)),
}
_VERB = re.compile("[а-яґєії']*(?:[аяиуюї]в|[аяиуюїі]л[аои]|[аяиуюїі]ти|[иауюя]ть|[уюая]є|[аея]но|[аяиу]то|ся)")
_WITH_GENITIVE = re.compile(".*(?:сяг|потребу|вимага|позбав|дотрим|уник|стосу|браку|зазна)|(?:пам|п|дев)'ять")
_TOWNS = {"київ", "львів", "харків", "чернігів", "миколаїв"}
_MONTH_NAMES = "січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня"
_MONTHS = set(_MONTH_NAMES.split())
# Endings of ordinals: hard, and soft (only третій); the first four are those that go with рік, року, році, роком.
_HARD = ("ий", "ого", "ому", "им", "а", "ої", "ій", "у", "ою", "е", "і", "их", "ими")
_SOFT = ("ій", "ього", "ьому", "ім", "я", "ьої", "ій", "ю", "ьою", "є", "і", "іх", "іми")
_YEAR = {"рік": 0, "року": 1, "році": 2, "роком": 3}
_FEMININE_LOCATIVE, _NEUTER = _HARD.index("ій"), _HARD.index("е")

_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_FIGURES = re.compile(r"[0-9]+")
_ORDINAL = re.compile(r"([1-9][0-9]{0,3})-([а-щьюяґєії]{1,3})")


def spell_numbers(words: Sequence[str]) -> list[str]:
    """The words with every number spelled that can be; lower-case words without punctuation, but for `тис.`."""
    spelled: list[str] = []
    at = 0
    while at < len(words):
        before = _before(spelled)
        end = _end_of_figures(words, at)
        found: tuple[str, int] | None = None  # what is said, and the first word that it does not cover
        if not before or _WORD.fullmatch(before):
            if end > at:
                found = _number(words, at, end, before)
            elif words[at] == "№" or (words[at] in _SYMBOLS and _FIGURES.fullmatch(_at(words, at + 1))):
                found = _behind_symbol(words, at, before)
            elif unit := _unit(words, at):
                found = (unit.many, at + 1) if _BY_FORM.get(before) in _SCALE_NOUNS else None
            elif match := _ORDINAL.fullmatch(words[at]):
                found = _with_ending(int(match[1]), match[2], _at(words, at + 1), at + 1)
        text, at = found or (" ".join(words[at : max(end, at + 1)]), max(end, at + 1))
        spelled += text.split()
    return spelled


def _before(spelled: Sequence[str]) -> str:
    """The word before; behind an adverb (до майже 5 років) the preposition that is meant for the number."""
    word = spelled[-1] if spelled else ""
    ahead = spelled[-2] if len(spelled) > 1 and word in _SKIPPED else word
    return ahead if ahead in _PREPOSITIONS else word


def _at(words: Sequence[str], index: int) -> str:
    return words[index] if index < len(words) else ""


def _end_of_figures(words: Sequence[str], at: int) -> int:
    """Behind the words of figures alone that begin here."""
    while _FIGURES.fullmatch(_at(words, at)):
        at += 1
    return at


def _value(figures: Sequence[str]) -> int | None:
    """Of one number, whole or in groups of three; None for all else."""
    grouped = len(figures[0]) <= 3 and all(len(group) == 3 for group in figures[1:])
    whole = "".join(figures)
    leading = whole.startswith("0") and whole != "0"
    return None if leading or len(whole) > _MANY_DIGITS or (len(figures) > 1 and not grouped) else int(whole)


def _goes_on(after: str) -> bool:
    """Whether punctuation, which stays between figures alone, leads to more figures."""
    return bool(after) and not after[0].isalnum() and after[0] not in "№$€₴"


def _behind_symbol(words: Sequence[str], at: int, before: str) -> tuple[str, int] | None:
    """№ 5, $ 5, $ 5 млн or $ 5 мільйонів."""
    end = _end_of_figures(words, at + 1)
    number = _value(words[at + 1 : end]) if end > at + 1 else None
    if number is None or _goes_on(_at(words, end)):
        return None
    if words[at] == "№":
        return (f"номер {_cardinal(number)}", end) if number <= _LARGEST_NAME else None
    if not _is_nominative(before):
        return None
    noun, after = _SYMBOLS[words[at]], _at(words, end)
    scale = _short(_SCALES, after)
    if _BY_FORM.get(after) in _SCALE_NOUNS:
        spelled = _agreeing(number, after, "", before)
        return (f"{spelled} {after} {noun.many}", end + 1) if spelled else None
    if scale is None:
        return _counted(number, noun, end)
    counted = _counted(number, scale, end + 1)
    return (f"{counted[0]} {noun.many}", end + 1) if counted else None


def _number(words: Sequence[str], at: int, end: int, before: str) -> tuple[str, int] | None:
    """Figures, by what stands before and behind them."""
    number, after = _value(words[at:end]), _at(words, end)
    if number is None or _goes_on(after):
        return None
    if before == "номер" and number <= _LARGEST_NAME:
        return _cardinal(number), end
    if 1000 <= number <= 2099 and end == at + 1:
        if after in _YEAR:
            return f"{_ordinals(number)[_YEAR[after]]} {after}", end + 1
        if after in ("роки", "років"):  # 2006 та 2009 років are years, 2000 років a time
            return None
        if after == "р." and (before in _MONTHS or before in ("у", "в")):
            case, noun = (1, "року") if before in _MONTHS else (2, "році")
            return f"{_ordinals(number)[case]} {noun}", end + 1
    if after in _MONTHS:
        return _day(number, before, end)
    if short := _short(_SCALES, after) or _unit(words, end):
        return _counted(number, short, end + 1) if _is_nominative(before) else None
    spelled = _agreeing(number, after, _at(words, end + 1), before)
    return (spelled, end) if spelled else None


def _short(known: dict[str, str], word: str) -> _Noun | None:
    """The noun that is written short, with a full stop or without."""
    name = known.get(word.removesuffix("."))
    return _BY_FORM[name] if name else None


def _unit(words: Sequence[str], at: int) -> _Noun | None:
    """What is counted: a unit written short, or a symbol, unless that belongs to figures behind it."""
    is_behind = not _FIGURES.fullmatch(_at(words, at + 1))
    word = _at(words, at)
    unit = _short(_UNITS, word) or (_short(_LETTERS, word) if len(word) == 1 else None)
    return unit or (_SYMBOLS.get(word) if is_behind else None)


def _is_nominative(before: str, after: str = "") -> bool:
    """Whether a numeral between these words is in the nominative or the accusative, whatever its noun looks like."""
    if before in _NOMINATIVE or (before in ("у", "в") and after == "разів"):
        return True
    return bool(_VERB.fullmatch(before)) and not _WITH_GENITIVE.match(before)


def _counted(number: int, noun: _Noun, end: int) -> tuple[str, int] | None:
    """A number and its unit, in the nominative or the accusative, which differ for 1 and a feminine noun."""
    count = _count(number)
    form = {"one": noun.one, "few": noun.few, "many": noun.many}[count]
    undecided = form == "-" or (count == "one" and noun.feminine)
    return None if undecided else (f"{_cardinal(number, noun.feminine)} {form}", end)


def _agreeing(number: int, after: str, then: str, before: str) -> str | None:
    """The number as it goes with the noun behind it."""
    count, noun = _count(number), _BY_FORM.get(after)
    if count == "many":
        adjective = after.endswith(("их", "іх", "їх"))
        is_many = _is_many(after) or (adjective and _is_many(then))
        return _cardinal(number) if is_many and _is_nominative(before, after) else None
    if noun is None:
        return None
    if count == "few":
        return _cardinal(number, noun.feminine) if after == noun.few else None
    if after == noun.accusative:
        return _cardinal(number, feminine=True, case="accusative")
    return _cardinal(number, noun.feminine) if after == noun.one else None


def _is_many(word: str) -> bool:
    """Whether this can only be a genitive plural."""
    noun = _BY_FORM.get(word)
    listed = bool(noun and word == noun.many)
    return listed or (word.endswith(("ів", "їв")) and word not in _TOWNS and bool(_WORD.fullmatch(word)))


def _count(number: int) -> str:
    """Which form of a noun goes with the number."""
    if number % 100 in range(11, 15) or number % 10 in (0, *range(5, 10)):
        return "many"
    return "one" if number % 10 == 1 else "few"


def _cardinal(number: int, feminine: bool = False, case: str = "nominative") -> str:
    gender = "feminine" if feminine else "masculine"
    return _plain_thousand(number, number_in_words(number, "uk", gender=gender, case=case))


def _plain_thousand(number: int, spelled: str) -> str:
    """1,500 is said тисяча п'ятсот; the library adds одна."""
    return re.sub("^одн[ау] ", "", spelled) if 1000 <= number <= 1999 else spelled


def _ordinals(number: int) -> list[str]:
    """All forms in the order of the endings, for 1 to 2099; only the last word of an ordinal is declined."""
    masculine = "двотисячний" if number == 2000 else number_in_words(number, "uk", to="ordinal")
    masculine = _plain_thousand(number, masculine)
    soft = masculine.endswith("третій")
    return [masculine[:-2] + ending for ending in (_SOFT if soft else _HARD)]


def _day(number: int, before: str, end: int) -> tuple[str, int] | None:
    """The day of a month, which stands behind it."""
    if not 1 <= number <= 31 or before not in _TO_DATE | _ON_DATE:
        return None
    return _ordinals(number)[1 if before in _TO_DATE else _NEUTER], end


def _with_ending(number: int, ending: str, after: str, end: int) -> tuple[str, int] | None:
    """2-го: the ordinal that ends like this."""
    if not 1 <= number <= 2099 or (ending in ("х", "ох", "ма", "м") and number in range(2, 5)):  # двох, двома, двом
        return None
    forms = {form for form in _ordinals(number) if form.endswith(ending)}
    if ending == "й" and len(forms) > 1:
        feminine = after.endswith(("і", "ї"))
        masculine = bool(re.search("[бвгґджзклмнпрстфхцчшщь]$|ий$", after))
        forms &= {_ordinals(number)[0 if masculine else _FEMININE_LOCATIVE]} if feminine or masculine else set()
    return (forms.pop(), end) if len(forms) == 1 else None
