"""No text in; patterns out: what may follow a counter or a closing quotation mark within an eojeol."""

_CASES = r"(?:에서|에|으로|로|까지|부터|보다|처럼|만큼|마다|씩|밖에|조차|이?나|이?라도|만|뿐|대로)"
_LAST = r"(?:은|는|이|가|을|를|의|도|와|과|이?랑|요)"
_COPULA = (
    r"(?:이?(?:다|고|며|면|면서|지만|지|지요|죠|니|니까|므로|던|에요)|이었[가-힣]*|였[가-힣]*|예요|이야"
    r"|이?라[가-힣]{0,3}|이?란|입니다|입니까|인데|인지|인가|일까|인|일|임)"
)
# Written together with a counter: 3년간, 2월말, 1인당.
_DERIVED = (
    r"(?:간|째|쯤|경|당|짜리|가량|여|말|초|생|산|형|전|후|뒤|이상|이하|미만|이내|이후|이전"
    r"|동안|정도|안팎|차|내|중|남짓|어치)"
)

PARTICLES = rf"{_CASES}{{0,3}}(?:{_LAST}|{_COPULA})?{_LAST}?"
TAIL = rf"{_DERIVED}?{PARTICLES}"
