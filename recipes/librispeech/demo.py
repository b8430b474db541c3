"""A random generator in, English sentences out: the voices and the small grammar of `asrkit demo`.

Some 900 words, many of them names or one of two that sound (nearly) alike, so that an n-gram has something to decide.
"""

import random
import re

# espeak-ng voices; nobody who is tested is heard in training
VOICES = {
    "train": (
        *("en-us", "en-us+m1", "en-us+m2", "en-us+m3", "en-us+m5", "en-us+m7", "en-us+f1", "en-us+f2", "en-us+f4"),
        *("en-us+Andy", "en-us+Annie", "en-us+Denis", "en-us+Lee", "en-us+anika", "en-us+linda", "en-us+adam"),
    ),
    "dev": ("en-us+m6", "en-us+Alicia"),
    "test": ("en-us+m4", "en-us+f3", "en-us+steph", "en-us+Michael"),
}

# Each slot holds its choices, separated by "|"; a choice may hold further {slots}. Repeating one makes it likelier.
GRAMMAR = {
    "sentence": """
        {someone} {ate} {quantity} of {food} {when}|{someone} {ate} {the_food} and {drank} {quantity} of {drink}|
        {the_person} {rode} {the} {ride} {along} the {way} {when}|{name} and {name} {sailed} from {place} to {place}|
        {the_person} {saw} {the} {adjective} {animal} {where}|{the} {animal} {ran} {along} the {way} {when}|
        {name} {gave} {the_person} {a_number} {adjective} {things}|{someone} {made} {the} {adjective} {thing} of {stuff}|
        {when} {name} {sold} the {thing} to {name} for {number} {money}|{the} {weather} {blew} {along} the {way} {when}|
        {name} {wore} {the} {colour} {clothes} and {the} {colour} {clothes}|{name}'s {family} {works} {where}|
        {the_person} {said} that {name} {saw} {the} {animal} {when}|{question} {name} {do} the {adjective} {thing} {when}|
        {someone} {hurt} {whose} {body} {where} {when}|the {colour} {thing} {lay} {where} for {number} {hours}|
        {the_person} {wrote} {the} {adjective} {writing} about {name} and the {animal}|{name} {knows} {the_person} {well}|
        {someone} {waited} for {name} {where} until {clock}|{the} {person} and {the} {person} {met} {where} {when}|
        {number} {people} {left} {place} {when} because of the {weather}|{someone} {played} the {instrument} {manner} {when}|
        {the_person} {repaired} the {part} of the {ride} with {the} {tool}|{name} {grew} {things_grown} {where} every {season}|
        {name} would {do} {the} {thing} but {the_person} would not""",
    "someone": "{name}|{name}|{the_person}|{name}'s {family}|{name} and {name}",
    "the_person": "{the} {person}|{the} {adjective} {person}|{the} {person} from {place}",
    "the_food": "{the} {food}|{the} {adjective} {food}",
    "the": "the|the|the|a new|his|her|their|our|one|this|that|another",
    "whose": "his|her|their",
    "name": """
        aaron|erin|alan|ellen|brian|ryan|carrie|kerry|gary|dawn|don|dan|jean|joan|john|jane|mary|marie|maria|martin|
        marvin|melvin|kelvin|calvin|colin|karen|sharon|shannon|sean|shane|wayne|duane|paula|pauline|paul|laura|laurel|
        oliver|olivia|livia|sylvia|edith|judith|julia|julian|gillian|lillian|william|wilma|thelma|selma|emma|anna|hannah|
        diana|dinah|tina|nina|lena|helena|eleanor|elena|nora|dora|cora|flora|rosa|rose|ross|russell|roger|rodney|sidney|
        stanley|stephen|stephanie|philip|felix|alex|alice|ellis|ted|ed|ned|fred|frank|francis|vincent|victor|hector|
        peter|petra|patrick|patricia|theo|leo|cleo|bruce|ruth|luke|duke|hugo|hugh|ivan|ian|eva|ada|ida|ira|ezra""",
    "place": """
        paris|berlin|dublin|london|lisbon|boston|austin|houston|denver|dover|hanover|vienna|geneva|genoa|verona|warsaw|
        moscow|oslo|cairo|tokyo|toronto|ontario|delhi|bombay|havana|nevada|panama|peru|china|chile|kenya|korea|india|
        norway|sweden|finland|ireland|iceland|holland|poland|portugal|spain|wales|york|cork|kent|ghent|milan|madrid""",
    "person": """
        baker|banker|barber|butcher|teacher|preacher|painter|printer|plumber|drummer|farmer|former mayor|lawyer|sailor|
        tailor|jailer|driver|diver|rider|writer|waiter|hunter|actor|doctor|sister in law|nurse|judge|guard|knight|king|
        queen|prince|princess|priest|guest|ghost|host|boss|maid|male nurse|mailman|fireman|foreman|woman|gentleman|cook|
        crook|clerk|clown|pilot|pirate|poet|patient|agent|student|servant|merchant|general|colonel|major|sergeant|
        soldier|shoulder surgeon|stranger|ranger|manager|messenger|passenger|traveller|gardener|carpenter|engineer""",
    "family": "son|sun loving aunt|aunt|uncle|niece|nephew|cousin|daughter|brother|mother|father|grandson|heir",
    "people": "men|women|children|workers|walkers|travellers|families|soldiers|sailors|girls|boys|guests|knights",
    "animal": """
        bear|hare|deer|mare|goat|colt|cat|rat|bat|bee|flea|fly|frog|dog|hog|fox|ox|wolf|calf|lamb|ram|hen|wren|crow|
        crane|swan|duck|duckling|goose|moose|mouse|mule|mole|snail|whale|quail|snake|seal|eel|eagle|beagle|beetle|turtle|
        turkey|monkey|donkey|pony|puppy|kitten|chicken|pigeon|parrot|ferret|rabbit|lizard|leopard|tiger|spider""",
    "thing": """
        bottle|kettle|ladle|ladder|letter|basket|blanket|bucket|packet|pocket watch|rocket|jacket|ticket|carpet|curtain|
        cushion|kitchen knife|table|cable|candle|handle|needle|noodle bowl|mirror|lamp|lantern|clock|lock|block|box|
        book|hook|bell|ball|doll|bowl|pole|pail|nail|sail|scale|whistle|pistol|crystal|pencil|stencil|chair|stair|vase|
        vane|chain|crane|plane|plate|plant|paint|pot|pan|pin|pen|fan|can|cane|coin|crown|drum|broom|comb|tomb|tool|
        stool|spool|spoon|fork|pillow|willow basket|feather|leather bag|ribbon|robin's nest|curtain rod|flower|tower""",
    "things": """
        apples|maples|candles|sandals|handles|letters|ladders|flowers|towels|tiles|tales|tails|nails|scales|shells|bells|
        books|bricks|boxes|foxes|roses|noses of clay|glasses|classes|dresses|watches|matches|peaches|pears|chairs|stairs|
        hairs|pairs of shoes|pieces of cake|knots|notes|boats|coats|goats|stamps|lamps|maps|caps|cups|pups|pipes|ropes""",
    "things_grown": """
        roses|beans|peas|pears|peaches|beets|wheat|rye|rice|barley|parsley|carrots|berries|cherries|melons|lemons|onions|
        tulips|lilies|daisies|poppies|potatoes|tomatoes|cabbages|flowers|pumpkins|radishes""",
    "food": """
        bread|meat|steak|stew|soup|fish|rice|pie|cake|cheese|bacon|beef|veal|ham|jam|lamb|honey|butter|batter|fudge|
        porridge|cabbage|sausage|salad|spinach|pasta|pastry|gravy|toast|roast|yeast bread|corn|turnip|trout|salmon""",
    "drink": "tea|coffee|cocoa|milk|wine|water|cider|beer|rum|gin|ale|juice|lemonade|broth|cream",
    "quantity": """
        a piece|a bowl|a plate|a whole plate|half a pound|a pound|a cup|a pail|two cups|four plates|eight pieces|a lot|
        a little bit|the rest|the last piece|some|all|none|one bite|six bowls|too much""",
    "money": "cents|pounds|dollars|euros|coins of gold|marks|crowns|francs|pence",
    "stuff": "wood|steel|stone|glass|brass|clay|wool|silk|straw|leather|copper|paper|silver|iron|ivory|bronze|lead|plaster",
    "clothes": """
        hat|coat|cap|cape|scarf|skirt|shirt|shawl|suit|boots|belt|vest|tie|gloves|glasses|jacket|sweater|slippers|
        sandals|trousers|dress|robe|ribbon|veil|apron""",
    "body": "hand|head|heel|hair|foot|feet|toe|nose|ear|eye|knee|neck|back|waist|wrist|shoulder|finger|arm|palm|thumb|chin|shin",
    "ride": "bicycle|horse|mare|motorcycle|tricycle|wagon|train|tram|sleigh|donkey|cart|car|carriage|camel|truck|tractor|van",
    "part": "brake|wheel|seat|saddle|axle|engine|handle|lamp|chain|door|window|roof|spring|pedal|lock|steering wheel|horn|mirror",
    "tool": "hammer|spanner|saw|screwdriver|knife|file|rope|wire|drill|brush|nail|bolt|chisel|pair of pliers|crowbar",
    "instrument": "piano|violin|viola|cello|flute|lute|harp|horn|drum|guitar|trumpet|trombone|organ|oboe|banjo|fiddle|bassoon",
    "writing": "letter|book|tale|story|poem|song|play|report|article|novel|note|song|speech|diary|ballad|essay|sermon",
    "weather": "wind|rain|snow|hail|storm|breeze|gale|fog|frost|mist|sleet|thunder|blizzard|drizzle|heat",
    "colour": "red|blue|green|grey|white|black|brown|yellow|purple|pink|orange|golden|pale blue|dark green|violet|scarlet",
    "adjective": """
        old|cold|bold|bald|tall|small|short|smart|sharp|shy|sly|dry|wise|nice|kind|blind|fine|plain|brave|grave|great|
        grey|weak|meek|sleek|cheap|deep|steep|sweet|neat|clean|mean|lean|green|keen|dear|fair|rare|bare|broken|golden|
        wooden|sudden|hidden|sullen|stolen|swollen|heavy|happy|hungry|angry|lonely|lovely|lively|lazy|crazy|dirty|dusty|
        rusty|thirsty|noisy|nosy|rosy|quiet|quaint|strange|gentle|simple|little|brittle|bitter|better|famous|nervous|
        curious|serious|precious|gracious|spacious|ancient|patient|pleasant|silent|distant|foreign|modern|western|eastern""",
    "way": """
        road|river|street|stream|track|trail|path|lane|line of trees|shore|bridge|ridge|hedge|wall|canal|channel|coast|
        beach|bay|sea|harbour|valley|alley|avenue|railway|highway|hallway|tunnel""",
    "along": "along|across|beside|over|under|past|through|down|up|by|toward|around",
    "where": """
        in {place}|in {place}|near {place}|in the {room}|in the {room}|at the {building}|at the {building}|
        on the {way}|by the {way}|behind the {building}|by the sea|in the wood|under the stairs""",
    "room": "kitchen|chicken coop|cellar|hall|garden|bedroom|bathroom|attic|office|library|parlour|pantry|corner|stable|tent",
    "building": """
        church|school|station|castle|palace|bank|mill|inn|barn|farm|store|court|fort|port|market|museum|theatre|tower|
        temple|hotel|hospital|factory|bakery|brewery|prison|mansion|cottage|college|post office|town hall|airport|zoo""",
    "when": """
        on {day}|on {day} {daytime}|last {day}|last week|last {season}|in the {daytime}|at night|late at night|at noon|
        at {clock}|before {meal}|after {meal}|during {meal}|in {month}|on the {ordinal} of {month}|{number} {hours} ago|
        every {day}|all {daytime}|for an hour|for the whole week|in the rain|again|today|yesterday|right away|at dawn""",
    "day": "monday|tuesday|wednesday|thursday|friday|saturday|sunday",
    "daytime": "morning|evening|afternoon|night",
    "season": "spring|summer|autumn|winter|year|month|week",
    "month": "january|february|march|april|may|june|july|august|september|october|november|december",
    "meal": "breakfast|lunch|dinner|supper|school|work|the show|the war|the storm|church|the fair",
    "clock": "{number} o'clock|half past {number}|quarter to {number}|noon|midnight|ten past {number}",
    "hours": "hours|days|weeks|months|years|minutes|nights",
    "number": "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|twenty",
    "a_number": "{number}|{number}|{number} or {number}|thirty|forty|fifty|sixty|ninety|a hundred|a pair of|some|no",
    "ordinal": "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|twelfth|twentieth|thirtieth",
    "ate": "ate|ate|cooked|bought|brought|stole|shared|tasted|served|refused|wanted|finished|spilled|burned",
    "drank": "drank|drank|poured|sipped|ordered|wanted|spilled|tasted",
    "rode": "rode|drove|led|steered|pushed|pulled|raced|followed|parked|lost|chased|left",
    "sailed": "sailed|travelled|walked|flew|fled|drove|moved|returned|hurried|wandered|swam",
    "saw": "saw|heard|found|fed|led|hid|caught|bought|fought|sought|taught|brought|met|kept|left|lost|watched|washed|touched|chased",
    "ran": "ran|fled|flew|crept|leapt|slept|swam|crawled|climbed|limped|jumped|hopped|walked|trotted|wandered",
    "gave": "gave|sent|lent|sold|showed|owed|threw|brought|handed|offered|promised|mailed",
    "made": "made|built|bought|broke|carved|cast|drew|designed|ordered|wanted|sold|stole",
    "sold": "sold|sold|gave|lent|rented|offered|auctioned",
    "blew": "blew|came|went|rolled|roared|moved|swept|howled",
    "wore": "wore|wore|tore|bought|sewed|washed|lost|found|borrowed|mended|folded|dyed",
    "works": "works|lives|sleeps|sings|waits|hides|rests|studies|reads|paints|bakes|farms",
    "said": "said|says|heard|thought|wrote|believed|knew|denied|hoped|swore|dreamed|claimed",
    "question": "did|why did|how did|where did|would|could|should|when will|will|can|must",
    "do": "buy|sell|steal|see|hide|find|mend|break|bring|burn|carry|bury|clean|sew|show|throw|tow|weigh|wait for|need|want|use|lose",
    "hurt": "hurt|broke|burned|bruised|scratched|washed|cut|twisted|warmed|injured|bumped",
    "lay": "lay|stood|stayed|was|waited|remained|was hidden|hung|rusted",
    "wrote": "wrote|read|sent|sold|heard|tore up|translated|published|forgot|remembered|praised|burned|copied",
    "knows": "knows|likes|hates|trusts|helps|visits|misses|needs|teaches|obeys|fears|hears",
    "well": "well|too|now|again|{when}|{where}|very well|not at all|quite well|too well",
    "waited": "waited|waited|looked|stayed|stood|sat|searched|cried|sang|prayed|slept",
    "met": "met|fought|talked|danced|stayed|played|worked|argued|sang|ate|married|rested",
    "left": "left|fled|reached|leave|visit|visited|avoided|missed",
    "played": "played|practised|tuned|heard|sold|bought|borrowed|broke|lent",
    "manner": "loudly|softly|slowly|quickly|badly|sadly|gladly|boldly|quietly|proudly|poorly|gently|bravely|nearly|nicely|rarely",
    "repaired": "repaired|fixed|mended|broke|removed|replaced|cleaned|polished|tightened|oiled|loosened",
    "grew": "grew|planted|sold|bought|picked|watered|sowed|gathered|stored|weighed",
}  # fmt: skip

_CHOICES = {slot: [" ".join(choice.split()) for choice in text.split("|")] for slot, text in GRAMMAR.items()}


def sentences(rng: random.Random, count: int) -> list[str]:
    """`count` different sentences; the first ones do not depend on how many are asked for."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[_expand("sentence", rng)] = None
    return list(found)


def _expand(slot: str, rng: random.Random) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: _expand(match[1], rng), rng.choice(_CHOICES[slot]))
