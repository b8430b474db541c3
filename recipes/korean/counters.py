"""A number and its counter in, the numeral that goes with it out, where speakers agree on one.

Up to ten nearly everybody counts with native numerals; above, many change to Sino-Korean (스물다섯 명 and 이십오 명 are
both standard). Each native counter below has the highest number for which it is certain.
"""

from .numerals import LARGEST, native, sino

# Sino-Korean, whole numbers only.
_ORDERED = """
    년 년대 년도 년차 년생 월 일 일차 세기 분기 개월 개년 개국 주년 주차 분 인 인분 인승 인조 인용
    위 등 등급 급 회 회차 차 층 호 호선 호실 호점 항 절 승 패 연승 연패 박 학년 교시 반 번지
    원 원대 엔 위안 불 센트 펜스"""
# Sino-Korean, decimals as well.
_MEASURED = """
    퍼센트 퍼센트대 퍼센트포인트 프로 포인트 도 초 세 미터 킬로미터 센티미터 밀리미터 제곱미터 제곱킬로미터
    세제곱미터 킬로 센티 밀리 그램 킬로그램 밀리그램 톤 리터 밀리리터 헥타르 에이커 배럴 와트 킬로와트 볼트
    칼로리 킬로칼로리 데시벨 헤르츠 바이트 메가바이트 기가바이트 테라바이트 마일 인치 피트 야드
    달러 유로 파운드 프랑 마르크 루블 루피 페소"""
SINO = frozenset(_ORDERED.split())
MEASURES = frozenset(_MEASURED.split())

# Native, by the highest number. 0: 3권 may be three books or the third, so that only hundreds are certain.
_LIMITS = {
    0: """
        권 장 편 대 부 점 종 평 주 번 쪽 면 판 기 동 개소 페이지 단계 학기 세트 표 가구""",
    10: "개 건 배 곡 골 문제",
    12: "시간 달",
    19: """
        명 사람 마리 가지 군데 곳 번째 차례 그루 송이 켤레 벌 채 척 잔 병 자루 상자 박스 봉지 그릇
        접시 컵 통 조각 방울 바퀴 걸음 포기 다발 쌍 줄 끼 모금 토막 종류""",
    LARGEST: "살",
}
NATIVE = {counter: limit for limit, counters in _LIMITS.items() for counter in counters.split()}
_SEOK = {"달", "잔", "자루"}  # 석 달 as well as 세 달, 넉 잔 as well as 네 잔
_MONTHS = {6: "유월", 10: "시월"}

_UNITS = """
    % 퍼센트|%p 퍼센트포인트|%P 퍼센트포인트|%포인트 퍼센트포인트|%대 퍼센트대|° 도|₩ 원|$ 달러|€ 유로|£ 파운드|
    m 미터|km 킬로미터|㎞ 킬로미터|cm 센티미터|㎝ 센티미터|mm 밀리미터|㎜ 밀리미터|㎡ 제곱미터|
    g 그램|kg 킬로그램|㎏ 킬로그램|mg 밀리그램|㎎ 밀리그램|L 리터|ℓ 리터|ml 밀리리터|mL 밀리리터|㎖ 밀리리터"""
SYMBOLS = dict(pair.split() for pair in _UNITS.split("|"))


def counted(number: int, counter: str) -> str | None:
    """The number with its counter, 세 개; None where it can be read in two ways."""
    if counter == "월":
        return _MONTHS.get(number, f"{sino(number)}월") if 1 <= number <= 12 else None
    if counter == "시":
        return f"{native(number) if 1 <= number <= 12 else sino(number)} 시" if number <= 24 else None
    if counter == "주일":
        return "일주일" if number == 1 else None
    numeral = _numeral(number, counter)
    return f"{numeral} {counter}" if numeral else None


def _numeral(number: int, counter: str) -> str | None:
    limit = NATIVE.get(counter)
    if limit is None:
        return sino(number)
    if counter == "번째" and number == 1:
        return "첫"
    if number in (3, 4) and counter in _SEOK:
        return None
    if 1 <= number <= limit:
        return native(number)
    # From a hundred on both ways agree on round numbers, and with thousands nobody says 천이백서른네 명.
    certain = number >= 100 and (number % 100 == 0 or (number > 1000 and number % 100 >= 20))
    return sino(number) if certain else None
