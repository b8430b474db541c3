"""For `asrkit demo`: Korean voices and a small grammar (asrkit/sentences.py says how it is written).

Some 400 words before their particles. Many end in one or two consonants that change what follows (닭이, 값을, 먹는다),
or differ by one sound only (살 쌀, 빗 빛, 개 게): the n-gram has something to decide.
"""

import re

VOICE = "ko"  # espeak-ng's; its variants are the speakers

# A particle in parentheses takes the form that goes with the syllable before it: 닭(은) 닭은, 개(은) 개는.
GRAMMAR = {
    "sentence": """
        {who}(은) {where}에서 {what}(을) {took}|{when} {who}(이) {what}(을) {took}|{who}(은) {food}(을) {ate}|
        {when} {who}(과) {who}(이) {food}(을) {ate}|{who}(이) {thing}(을) {who}에게 {gave}|
        {who}(은) {thing}(과) {thing}(을) {took}|{where}에 {wild} {animal}(이) {lives}|
        {animal}(이) {where}에서 {ran}|{wild} {animal}(이) {where}(으로) {went}|{animal}(을) {count} 마리 {took}|
        {who}(은) {city}에서 {city}까지 {went}|{when} {count} 시에 {who}(이) {went}|
        {who}(은) {thing}(을) {count} 개 {took}|{body}(이) 아파서 {who}(은) {where}에 {stayed}|
        {who}(이) {body}(을) {washing} {food}(을) {ate}|{when} {weather}(이) {blew}|
        {thing} 값이 {price} 원이라고 {said}|{who}(이) {where}에 있다고 {said}|{who}(은) {adverb} {done}|
        {who}(은) {colour} {clothes}(을) 입고 {went}|{where}에 {plant}(을) {count} 그루 {planted}""",
    "who": "{name}|{name}|{job}|{which_person} {job}|우리 {family}",
    "name": "민준|민정|서준|서연|지훈|지은|영수|영숙|영희|현우|현주|은주|은지|수진|수현|주현|준호|진호|진희|상훈",
    "job": "의사|약사|교사|목사|판사|농부|어부|광부|가수|교수|화가|작가|군인|상인|노인|주인|왕|왕비",
    "family": "형|누나|언니|오빠|동생|아들|딸|엄마|아빠|고모|이모|삼촌|사촌",
    "which_person": "젊은|늙은|착한|약한|독한|밝은|굶은|바쁜|나쁜|예쁜",
    "what": "{thing}|{which} {thing}|{colour} {clothes}",
    "which": "넓은|얇은|짧은|굵은|낡은|젖은|깊은|높은|낮은|작은|좁은|굽은|비싼|싼|큰|긴",
    "colour": "흰|검은|빨간|파란|노란|붉은|누런",
    "wild": "큰|작은|늙은|굶은|젖은|검은|흰|빠른|느린|어린",
    "thing": """
        공|종|병|상|책|책상|칼|활|살|쌀|불|뿔|풀|물|탈|컵|톱|삽|빗|빛|붓|못|꽃|낫|돛|솥|팥|밭|끈|돈|
        의자|열쇠|바늘|비누|베개|이불|반지|편지|우산|가방|가위|장갑|모자|시계|흙|삯|몫|짐""",
    "clothes": "옷|속옷|겉옷|치마|바지|양말|신발|구두",
    "food": "밥|국|죽|떡|빵|콩|팥죽|꿀|굴|귤|감|밤|배|파|무|김|김치|닭|삶은 닭|볶은 콩|생선|고기|두부|계란|사과|엿|묵",
    "animal": "개|게|말|소|닭|곰|범|양|염소|돼지|토끼|여우|사슴|뱀|벌|나비|파리|모기|개미|거미|까치|꿩|매|오리|쥐",
    "where": "집|방|마당|부엌|밭|논|숲|산|길|시장|학교|병원|은행|빵집|꽃집|역|항구|섬|절|문 앞|문 밖|집 안|{city}",
    "city": "서울|부산|대구|대전|인천|광주|울산|수원|강릉|원주|청주|전주",
    "when": "오늘|어제|아침에|낮에|밤에|저녁에|봄에|여름에|가을에|겨울에|월요일에|화요일에|목요일에|금요일에",
    "count": "한|두|세|네|다섯|여섯|일곱|여덟|아홉|열",
    "price": "백|천|만|이천|삼천|사천|오천|이만|삼만|오만",
    "adverb": "많이|조용히|열심히|빨리|자주|늘|꼭|다시|같이|잘|굳이",
    "took": """
        샀다|팔았다|찾았다|잃었다|닦았다|깎았다|묶었다|섞었다|얹었다|밟았다|긁었다|옮겼다|씻었다|찢었다|놓았다|받았다""",
    "ate": "먹었다|먹는다|샀다|팔았다|남겼다|싫어했다|좋아했다|먹지 않았다|먹었어요|먹었습니다",
    "gave": "주었다|팔았다|보냈다|던졌다|맡겼다|건넸다",
    "lives": "산다|있다|없다|많다|잔다|숨었다|앉았다|누웠다",
    "ran": "뛰었다|잤다|놀았다|울었다|굶었다|죽었다|숨었다|앉았다",
    "went": "갔다|왔다|떠났다|달렸다|나갔다|갔어요|왔어요|갔습니다|왔습니다",
    "stayed": "있었다|누웠다|앉았다|남았다|숨었다|없었다",
    "body": "머리|목|발|팔|손|다리|무릎|허리|등|입|코|귀|눈|턱|뼈",
    "washing": "씻고|닦고|긁고|다치고",
    "weather": "비|눈|바람|폭풍|안개|첫눈|봄비",
    "blew": "왔다|그쳤다|멎었다|끝났다|왔어요|그쳤습니다",
    "said": "말했다|말한다|물었다|적었다|썼다|믿었다|들었다|말했어요",
    "plant": "꽃|풀|나무|감나무|밤나무|콩|팥|벼|밀|배추|상추|고추",
    "planted": "심었다|뽑았다|꺾었다|키웠다|팔았다|심었어요",
    "done": """
        일을 끝냈다|잠을 잤다|꿈을 꿨다|춤을 췄다|숨을 쉬었다|값을 물었다|넋을 잃었다|길을 잃었다|몫을 나눴다|
        닭을 쫓았다|닭을 삶았다|물을 끓였다|옆에 앉았다|밖에 앉았다|이를 닦았다|빚을 갚았다|빛을 쬐었다""",
}

_FIRST_SYLLABLE, _FINALS, _FINAL_L = ord("가"), 28, 8
_PARTICLES = {"은": "는", "이": "가", "을": "를", "과": "와", "으로": "로"}  # behind a consonant, behind a vowel
_PARTICLE = re.compile(rf"(.)\(({'|'.join(_PARTICLES)})\)")


def finish(sentence: str) -> str:
    """Every particle in the form that goes with the word's last syllable: 말로, but 밭으로."""
    return _PARTICLE.sub(_agreeing, sentence)


def _agreeing(match: re.Match[str]) -> str:
    syllable, particle = match.groups()
    final = (ord(syllable) - _FIRST_SYLLABLE) % _FINALS
    open_syllable = final == 0 or (particle == "으로" and final == _FINAL_L)
    return syllable + (_PARTICLES[particle] if open_syllable else particle)
