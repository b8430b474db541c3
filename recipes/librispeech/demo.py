"""For `asrkit demo`: English voices and a small grammar (asrkit/sentences.py says how it is written).

Some 600 words, many of them names, or one of two that sound (nearly) alike: the n-gram has something to decide.
"""

VOICE = "en-us"  # espeak-ng's; its variants are the speakers

GRAMMAR = {
    "sentence": """
        {someone} {ate} {quantity} of {food} {when}|{someone} {drank} {quantity} of {drink} {when}|
        {person} {rode} {the} {ride} {along} the {way}|{name} and {name} {sailed} from {place} to {place}|
        {person} {saw} {the} {animal} {where}|{the} {animal} {ran} {along} the {way} {when}|
        {name} {gave} {person} {number} {things}|{someone} {made} {the} {adjective} {thing} {when}|
        {name} {sold} the {thing} to {name} for {number} {money}|the {weather} {blew} {along} the {way} {when}|
        {name} {wore} {the} {colour} {clothes}|{name}'s {family} {works} {where}|
        {person} {said} that {name} {saw} {the} {animal}|{question} {name} {do} the {adjective} {thing}|
        {someone} {hurt} {whose} {body} {where}|the {colour} {thing} {lay} {where} for {number} {hours}|
        {person} {wrote} {the} {adjective} {writing} about {name}|{name} {knows} {person} {well}|
        {someone} {waited} for {name} until {clock}|{the} {job} and {the} {job} {met} {where}|
        {someone} {played} the {instrument} {manner} {when}|{name} {grew} {plants} {where} every {season}""",
    "someone": "{name}|{name}|{person}|{name}'s {family}",
    "person": "{the} {job}|{the} {adjective} {job}|{the} {job} from {place}",
    "the": "the|the|the|a new|his|her|their|our|one",
    "whose": "his|her|their",
    "name": """
        aaron|erin|alan|ellen|brian|ryan|carrie|kerry|dawn|don|dan|jean|joan|john|jane|mary|marie|maria|martin|marvin|
        paul|paula|laura|oliver|olivia|edith|judith|julia|william|emma|anna|tina|nina|lena|helena|nora|dora|rosa|ross""",
    "place": "paris|berlin|dublin|london|boston|austin|dover|denver|geneva|genoa|warsaw|china|chile|norway|wales",
    "job": """
        baker|banker|barber|butcher|teacher|preacher|painter|printer|farmer|lawyer|sailor|tailor|driver|diver|rider|
        writer|waiter|doctor|nurse|judge|knight|king|queen|guest|ghost|maid|cook|clerk|clown|pilot|pirate|poet""",
    "family": "son|aunt|uncle|niece|nephew|cousin|daughter|brother|mother|father",
    "animal": """
        bear|hare|deer|mare|goat|colt|cat|rat|bat|bee|flea|fly|frog|dog|hog|fox|ox|wolf|calf|lamb|hen|wren|crow|crane|
        swan|goose|moose|mouse|mule|mole|snail|whale|snake|seal|eel|eagle""",
    "thing": """
        bottle|kettle|ladle|ladder|letter|basket|blanket|bucket|jacket|ticket|carpet|curtain|table|cable|candle|handle|
        mirror|lamp|clock|lock|box|book|hook|bell|ball|bowl|pole|pail|nail|sail|chair|vase|chain|plane|plate|pan|pin""",
    "things": "candles|handles|letters|ladders|flowers|towels|tiles|nails|sails|shells|bells|books|boxes|boats|coats",
    "plants": "roses|beans|peas|pears|peaches|beets|wheat|rye|rice|carrots|berries|cherries|melons|lemons|onions",
    "food": "bread|meat|steak|stew|soup|fish|rice|pie|cake|cheese|bacon|beef|veal|ham|jam|lamb|honey|butter|batter",
    "drink": "tea|coffee|cocoa|milk|wine|water|cider|beer|rum|gin|ale|juice",
    "quantity": "a piece|a bowl|a plate|a whole plate|half a pound|a cup|a pail|two cups|four plates|a lot|some",
    "money": "cents|pounds|dollars|marks|crowns",
    "clothes": "hat|coat|cap|cape|scarf|skirt|shirt|suit|boots|belt|vest|tie|gloves|jacket|dress|robe|veil",
    "body": "hand|head|heel|hair|foot|feet|toe|nose|ear|eye|knee|neck|back|waist|wrist|arm|thumb|chin|shin",
    "ride": "bicycle|horse|mare|wagon|train|tram|sleigh|donkey|cart|car|camel|truck|van",
    "instrument": "piano|violin|viola|cello|flute|lute|harp|horn|drum|guitar|organ|banjo",
    "writing": "letter|book|tale|story|poem|song|play|report|note|speech",
    "weather": "wind|rain|snow|hail|storm|breeze|gale|fog|mist|sleet",
    "colour": "red|blue|green|grey|white|black|brown|yellow|pale|dark",
    "adjective": """
        old|cold|bold|bald|tall|small|smart|sharp|shy|sly|wise|nice|kind|fine|plain|brave|great|weak|meek|cheap|deep|
        sweet|neat|clean|mean|lean|dear|fair|rare|bare|broken|golden|heavy|happy|lonely|lovely|lazy|crazy|dusty|rusty""",
    "way": "road|river|street|stream|track|trail|path|lane|shore|bridge|ridge|hedge|wall|coast|beach|bay|sea|valley",
    "along": "along|across|beside|over|under|past|through|down|up",
    "where": "in {place}|near {place}|in the {room}|in the {room}|at the {building}|by the {way}|by the sea",
    "room": "kitchen|cellar|hall|garden|attic|office|library|pantry|corner|stable|tent|wood",
    "building": "church|school|station|castle|palace|bank|mill|inn|barn|farm|store|court|fort|port|market",
    "when": """
        on {day}|on {day} {daytime}|last week|last {season}|in the {daytime}|at night|at noon|at {clock}|before {meal}|
        after {meal}|for an hour|in the rain|again|today""",
    "day": "monday|tuesday|wednesday|thursday|friday|saturday|sunday",
    "daytime": "morning|evening|afternoon",
    "season": "spring|summer|autumn|winter|year|month|week",
    "meal": "breakfast|lunch|dinner|supper|school|work|the war",
    "clock": "{number} o'clock|half past {number}|quarter to {number}|noon",
    "hours": "hours|days|weeks|months|years",
    "number": "two|three|four|five|six|seven|eight|nine|ten|eleven|twelve",
    "ate": "ate|ate|cooked|bought|brought|stole|shared|tasted|served|wanted",
    "drank": "drank|drank|poured|ordered|wanted|spilled",
    "rode": "rode|drove|led|steered|pushed|pulled|raced|chased",
    "sailed": "sailed|walked|flew|fled|drove|moved|returned",
    "saw": "saw|heard|found|fed|led|hid|caught|bought|fought|brought|met|kept|left|lost|watched|washed",
    "ran": "ran|fled|flew|crept|leapt|swam|crawled|climbed|limped|jumped",
    "gave": "gave|sent|lent|sold|showed|owed|threw|brought",
    "made": "made|built|bought|broke|drew|designed|stole|sold",
    "sold": "sold|gave|lent|offered",
    "blew": "blew|came|went|rolled|roared",
    "wore": "wore|tore|bought|washed|lost|found|sewed",
    "works": "works|lives|sleeps|sings|waits|hides|rests",
    "said": "said|says|heard|thought|wrote|knew",
    "question": "did|why did|how did|where did|would|could|should|will",
    "do": "buy|sell|steal|see|hide|find|mend|break|bring|carry|clean|show|throw|wait for|need|want",
    "hurt": "hurt|broke|burned|washed|cut|warmed",
    "lay": "lay|stood|stayed|was hidden|hung",
    "wrote": "wrote|read|sent|sold|heard|forgot",
    "knows": "knows|likes|hates|trusts|needs|hears",
    "well": "well|too|now|again|not at all|very well",
    "waited": "waited|looked|stayed|searched|cried|sang",
    "met": "met|fought|talked|danced|worked|sang",
    "played": "played|tuned|heard|sold",
    "manner": "loudly|softly|slowly|quickly|badly|sadly|gladly",
    "grew": "grew|planted|sold|bought|picked",
}
