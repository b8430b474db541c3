"""A random generator in, Korean sentences out: the voices and the small grammar of `asrkit demo`.

Some 800 words before their particles. Many end in one or two consonants that change what follows (닭이, 값을, 읽는다),
or differ by one sound only (살 쌀, 방 빵, 개 게): the n-gram has something to decide.
"""

import random
import re

# espeak-ng voices; nobody who is tested is heard in training
VOICES = {
    split: tuple(f"ko+{variant}" for variant in variants.split())
    for split, variants in {
        "train": """
            m1 m3 m5 m7 m8 f3 f4 f5 Andy Annie Denis Mario Mike Nguyen Reed Storm adam anika antonio aunty benjamin
            david ed edward grandma grandpa linda max miguel pablo paul pedro quincy sandro steph victor""",
        "dev": "m2 f1",
        "test": "m4 m6 f2 robert",
    }.items()
}

# A slot holds its choices, separated by "|"; a choice may hold further {slots}; one that stands twice is likelier.
# A particle in parentheses takes the form that goes with the syllable before it: 닭(은) 닭은, 개(은) 개는.
GRAMMAR = {
    "sentence": """
        {when} {who}(이) {where}에서 {what}(을) {took}|{who}(은) {when} {what}(을) {took}|
        {who}(은) {where}에서 {food}(을) {ate}|{when} {who}(과) {who}(이) {food}(을) {ate}|
        {who}(이) {which} {thing}(을) {who}에게 {gave}|{who}(은) {thing}(과) {thing}(을) {took}|
        {where}에 {wild} {animal}(이) {lives}|{when} {animal}(이) {where}에서 {ran}|
        {wild} {animal}(이) {where}(으로) {went}|{when} {animal}(을) {count} 마리 {saw}|
        {who}(은) {city}에서 {city}까지 {ride}(으로) {went}|{when} {who}(이) {ride}(을) 타고 {where}(으로) {went}|
        {when} {count} 시에 {who}(과) {where}에서 {met}|{who}(은) {thing}(을) {count} 개 {bought}|
        {body}(이) 아파서 {who}(은) {where}에 {stayed}|{who}(은) {body}(을) {washing} {food}(을) {ate}|
        {when} {where}에 {weather}(이) {blew}|{weather}(이) {blowing} {who}(은) {where}에 {stayed}|
        {who}(은) {when} {book}(을) {count} 권 {read}|{who}(이) {where}에서 {adverb} {book}(을) {read}|
        {thing} 값이 {price} 원이라고 {who}(이) {said}|{who}(은) {animal}(이) {where}에 있다고 {said}|
        {whose} {family}(은) {where}에서 {job}(으로) {works}|{who}(은) {colour} {clothes}(을) 입고 {where}(으로) {went}|
        {why} {who}(은) {what}(을) {took_asked}|{when} {who}(이) {what}(을) {took_asked}|
        {where}에 {plant}(이) {adverb} {grew}|{who}(은) {where}에 {plant}(을) {count} 그루 {planted}|
        {who}(은) {adverb} {things_done}|{who}(이) {family}에게 {adverb} {said}""",
    "who": "{name}|{name}|{job}|{which_person} {job}|{whose} {family}|{job} {name}",
    "name": """
        민준|민정|민서|서준|서연|서윤|지훈|지은|지우|영수|영숙|영희|철수|정숙|정민|현우|현주|은주|은지|윤지|윤아|유나|
        수진|수현|주현|준호|진호|진희|태현|재현|혜진|혜선|승민|성민|경민|경숙|동욱|동현|상훈|미영""",
    "job": """
        의사|약사|교사|목사|기사|판사|변호사|요리사|이발사|간호사|농부|어부|광부|가수|교수|목수|화가|작가|기자|배우|군인|
        상인|시인|노인|주인|경찰|학생|선생님|사장님|손님|스님|왕|왕비|공주|도둑|일꾼|나무꾼|사냥꾼""",
    "family": """
        형|형수|누나|언니|오빠|동생|아들|딸|엄마|아빠|어머니|아버지|할머니|할아버지|고모|이모|삼촌|사촌|조카|손자|며느리""",
    "whose": "우리|저희|그의|이웃집|옆집|윗집|아랫집|친구의",
    "which_person": "젊은|늙은|착한|약한|독한|밝은|맑은|굶은|바쁜|나쁜|예쁜|기쁜|슬픈|아픈|키 큰|말 많은|돈 많은",
    "what": "{thing}|{which} {thing}|{colour} {thing}|{which} {clothes}",
    "which": """
        넓은|얇은|짧은|굵은|밝은|붉은|낡은|젖은|많은|닳은|깊은|높은|낮은|작은|적은|좁은|곧은|굽은|찢은|비싼|싼|큰|긴|
        무거운|가벼운|뜨거운|차가운|더러운|새로운|헌|새|흔한|귀한""",
    "colour": "흰|하얀|검은|까만|빨간|파란|노란|푸른|붉은|누런",
    "wild": "큰|작은|늙은|젊은|굶은|젖은|검은|흰|누런|붉은|빠른|느린|날쌘|낯선|어린|다친|배고픈|잠든",
    "thing": """
        공|종|병|상|책|책상|칼|활|화살|살|쌀|불|뿔|풀|물|달력|딸기|탈|컵|톱|삽|집게|접시|젓가락|숟가락|그릇|그림|크림|
        빗|빛|붓|못|옷장|꽃|꽃병|낫|낯|돛|닻|숯|솥|팥|밭|끈|돈|산삼|상자|의자|연필|열쇠|자물쇠|거울|겨울옷|바늘|비누|
        배낭|베개|이불|안경|반지|편지|봉투|우산|가방|가위|지갑|장갑|모자|시계|전화기|냄비|난로|촛불|흙|삯|몫|짐""",
    "clothes": "옷|속옷|겉옷|치마|바지|저고리|외투|양말|신발|구두|조끼|한복|두루마기|목도리",
    "food": """
        밥|국|죽|떡|빵|콩|팥죽|꿀|굴|귤|감|밤|배|파|무|김|김치|된장|간장|고추장|닭|닭고기|삶은 닭|끓인 국|볶은 콩|
        구운 밤|찐 떡|생선|고기|국수|국밥|비빔밥|떡국|만두|두부|달걀|계란|과일|과자|사과|수박|참외|포도|복숭아|
        곶감|엿|묵|쌀밥|보리밥|차|술|물|우유|꿀물""",
    "animal": """
        개|게|말|소|닭|닭 떼|곰|범|양|염소|돼지|토끼|여우|늑대|사슴|노루|뱀|벌|나비|파리|모기|개미|거미|매미|참새|제비|
        까치|까마귀|학|꿩|매|독수리|고래|상어|오리|거위|쥐|다람쥐|고양이|강아지|송아지|병아리|원숭이""",
    "where": """
        집|방|마당|부엌|앞마당|뒷마당|지붕 위|밭|논|숲|산|강가|바닷가|들판|길|골목|시장|학교|병원|은행|약국|식당|
        빵집|꽃집|책방|옷 가게|서점|극장|공원|역|항구|섬|절|교회|궁궐|성 밖|성 안|무덤 옆|나무 밑|솥 옆|문 앞|문 밖|
        집 안|집 밖|창문 옆|우물가|{city}""",
    "city": """
        서울|부산|대구|대전|인천|광주|울산|수원|춘천|강릉|원주|청주|충주|전주|진주|경주|여수|목포|제주|평양""",
    "when": """
        오늘|어제|그제|아침에|낮에|밤에|저녁에|새벽에|봄에|여름에|가을에|겨울에|지난봄에|지난달에|지난주에|작년에|
        재작년에|설날에|추석에|월요일에|화요일에|수요일에|목요일에|금요일에|토요일에|일요일에|유월에|시월에|팔월에|
        {count} 달 전에|{count} 시간 전에|{days} 전에|점심 때|비 올 때|해 뜰 때|달 밝은 밤에""",
    "days": "하루|이틀|사흘|나흘|닷새|엿새|이레|여드레|아흐레|열흘",
    "count": "한|두|다섯|여섯|일곱|여덟|아홉|열|열한|열두",
    "price": "백|천|만|이천|삼천|사천|오천|육천|칠천|팔천|구천|이만|삼만|오만|천오백|이만 오천|만 팔천",
    "why": "왜|어째서|언제|어디서|어떻게",
    "adverb": "많이|조용히|열심히|천천히|빨리|자주|가끔|늘|꼭|다시|또|같이|홀로|몰래|잘|끝까지|괜히|굳이|못내",
    "took": """
        샀다|팔았다|찾았다|잃었다|잊었다|닦았다|깎았다|꺾었다|묶었다|섞었다|얹었다|밟았다|긁었다|옮겼다|훔쳤다|씻었다|
        찢었다|찍었다|던졌다|고쳤다|놓았다|넣었다|받았다|얻었다|빌렸다|버렸다|숨겼다|만들었다|그렸다|골랐다|들었다""",
    "took_asked": "샀어요|팔았어요|찾았어요|잃었어요|닦았어요|묶었어요|밟았어요|옮겼어요|씻었어요|버렸어요|골랐어요",
    "bought": "샀다|팔았다|얻었다|받았다|깼다|주웠다|찾았다|놓았다|가졌다",
    "ate": """
        먹었다|먹는다|샀다|팔았다|나눴다|맛보았다|남겼다|훔쳤다|주문했다|싫어했다|좋아했다|먹지 않았다|
        먹었어요|먹었습니다|샀습니다|나눠 먹었다|다 먹었다""",
    "gave": "주었다|팔았다|보냈다|던졌다|빌려주었다|맡겼다|보여 주었다|건넸다|돌려주었다|선물했다",
    "lives": "산다|있다|없다|많다|잔다|숨었다|앉았다|누웠다|갇혔다|나타났다|있었다|없었다|앉아 있다|누워 있다",
    "ran": "뛰었다|잤다|놀았다|울었다|굶었다|죽었다|숨었다|앉았다|놀고 있다|자고 있다|떨고 있다|물을 핥았다",
    "went": "갔다|왔다|떠났다|달렸다|돌아갔다|돌아왔다|달아났다|걸어갔다|나갔다|갔어요|왔어요|갔습니다|왔습니다",
    "saw": "봤다|보았다|잡았다|길렀다|쫓았다|샀다|팔았다|잃었다|놓쳤다|찾았다|그렸다",
    "met": "만났다|놀았다|앉았다|울었다|웃었다|싸웠다|춤췄다|일했다|걸었다|쉬었다|만났어요|놀았습니다",
    "stayed": "있었다|누웠다|앉았다|남았다|갔다|숨었다|없었다|앉아 있었다|못 갔다|안 갔다",
    "ride": "말|배|차|기차|자전거|버스|택시|비행기|지하철|수레|트럭",
    "body": "머리|목|발|팔|손|손등|다리|무릎|허리|배|등|입|잎|코|귀|눈|이마|턱|뺨|뼈|가슴|어깨|손톱|발톱",
    "washing": "씻고|닦고|긁고|주무르고|다치고",
    "weather": "비|눈|바람|폭풍|안개|소나기|찬 바람|꽃비|첫눈|함박눈|장맛비|봄비",
    "blew": "왔다|그쳤다|멎었다|몰아쳤다|시작됐다|끝났다|왔어요|그쳤습니다",
    "blowing": "와서|그쳐서|멎어서|몰아쳐서|끝나서",
    "book": "책|시집|소설|잡지|만화|동화|역사책|그림책|일기|사전|악보",
    "read": "읽었다|읽는다|썼다|샀다|빌렸다|찢었다|잃었다|덮었다|읽고 있다|읽지 않았다|읽었어요|읽었습니다",
    "said": "말했다|말한다|물었다|외쳤다|적었다|썼다|믿었다|들었다|말했어요|말했습니다",
    "works": "일한다|일했다|지낸다|산다|일하고 있다|일했어요|일합니다",
    "plant": "꽃|풀|나무|감나무|밤나무|배나무|소나무|대나무|콩|팥|벼|보리|밀|파|무|배추|상추|고추|인삼",
    "grew": "자랐다|자란다|피었다|폈다|졌다|말랐다|죽었다|늘었다|자랐어요",
    "planted": "심었다|뽑았다|꺾었다|베었다|키웠다|팔았다|샀다|심었어요",
    "things_done": """
        일을 끝냈다|잠을 잤다|꿈을 꿨다|춤을 췄다|노래를 불렀다|숨을 쉬었다|값을 깎았다|값을 물었다|넋을 잃었다|
        길을 잃었다|말을 잃었다|몫을 나눴다|삯을 받았다|흙을 팠다|닭을 쫓았다|닭을 삶았다|물을 끓였다|앞을 봤다|
        옆에 앉았다|밖에 앉았다|부엌에 앉았다|무릎을 꿇었다|이를 닦았다|짐을 옮겼다|빚을 갚았다|빛을 쬐었다""",
}

_CHOICES = {slot: [" ".join(choice.split()) for choice in text.split("|")] for slot, text in GRAMMAR.items()}
_FIRST_SYLLABLE, _FINALS, _FINAL_L = ord("가"), 28, 8
_PARTICLES = {"은": "는", "이": "가", "을": "를", "과": "와", "으로": "로"}  # behind a consonant, behind a vowel
_PARTICLE = re.compile(rf"(.)\(({'|'.join(_PARTICLES)})\)")


def sentences(rng: random.Random, count: int) -> list[str]:
    """`count` different sentences; the first ones do not depend on how many are asked for."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[_PARTICLE.sub(_agreeing, _expand("sentence", rng))] = None
    return list(found)


def _expand(slot: str, rng: random.Random) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: _expand(match[1], rng), rng.choice(_CHOICES[slot]))


def _agreeing(match: re.Match[str]) -> str:
    """The word's last syllable and the particle in the form that goes with it: 말로, but 밭으로."""
    syllable, particle = match.groups()
    final = (ord(syllable) - _FIRST_SYLLABLE) % _FINALS
    open_syllable = final == 0 or (particle == "으로" and final == _FINAL_L)
    return syllable + (_PARTICLES[particle] if open_syllable else particle)
