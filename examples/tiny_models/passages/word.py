"""The words, names and numbers that generated passages are made of, split in two.

Owns the vocabularies and the rule that keeps training and held-out values apart. Knows nothing of
sentences or questions.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Literal


#: What is trained on; names and numbers kept out of training; and these in sentences whose wording
#: was kept out, too.
Split = Literal["train", "held_out", "reworded"]

#: One name or number in this many is never seen in training.
HELD_OUT_SHARE = 8


def _listed(text: str, *, separator: str | None = None) -> tuple[str, ...]:
    return tuple(text.split(separator))


ONSETS = _listed(
    "b bl br c ch cl cr d dr f fl fr g gl gr h j k kl kr l m n p pl pr qu r s sc sh sk sl sn st str"
    " sw t th tr tw v w wh y z"
)
VOWELS = _listed("a a a e e e i i o o o u y ai ea ee ei ie oa oo ou ia eo au é ö ø")
CODAS = _listed(
    "b ck d f ft g k l ld ll lm ln m mp n nd ng nk nn nt p r rd rk rl rm rn rt s sk ss st t th tt v"
    " x z"
)
ENDINGS = _listed(
    "a o i en er el in on an ia is us ley ton ford well wick by holm mere dale stead burn field"
    " worth ham berg dorf sson sen ova ez ard ini elle ette ow ory and ick eth"
)

FIRST_NAMES = _listed(
    "Anna Ben Clara David Emma Frank Grace Henry Iris Jack Kate Leo Maria Nora Oscar Paul Rosa Sam"
    " Tom Vera Will Alice Bruno Carol Diego Elena Felix Greta Hugo Ivan Julia Karl Laura Milo Nina"
    " Otto Petra Ralph Sofia Theo Uma Victor Wanda Amir Bea Chen Dana Ewan Fatima Gita Hana Idris"
    " Jonas Kofi Lena Marco Nadia Olga Priya Rafael Sana Tariq Yuki Zoe Peter Martha Simon Judith"
    " Walter Edith Arthur Mabel Harold Agnes Stanley Doris"
)

TITLES = ("Dr", "Captain", "Professor", "Mrs", "Mr", "Miss", "Sister", "Sergeant")

NOUNS = _listed(
    "gate tower bell lamp clock boat shed store bridge garden kitchen library archive workshop"
    " cellar roof ladder engine pump crane ferry wharf dock pier lock canal mill oven stove well"
    " tank boiler furnace press loom wheel cart wagon tram train bus lift stair hall room chapel"
    " school clinic office desk cabinet drawer shelf box chest trunk safe vault map chart globe"
    " book ledger diary letter register journal catalogue film record tape radio aerial mast flag"
    " sail anchor rope net buoy raft oar rudder compass telescope lens mirror prism camera"
    " microscope scale balance thermometer barometer gauge meter sensor valve pipe tap drain filter"
    " fan heater cooler freezer fridge cooker kettle pan tray table chair bench bed tent hut cabin"
    " lodge inn cafe canteen shop market stall bakery dairy farm barn stable pen coop hive pond"
    " pool fountain statue portrait painting tapestry carpet curtain window door key badge uniform"
    " helmet jacket boot glove mask tractor plough barrow rake spade saw drill hammer lathe bench"
    " kiln vase bowl cup jug plate spoon piano organ violin drum choir orchestra theatre cinema"
    " gallery museum station platform tunnel quarry mine reservoir dam weir beacon signal siren"
    " alarm camp path trail track road square park orchard meadow wood greenhouse nursery studio"
    " laboratory observatory dome annex wing corridor lounge terrace balcony attic basement garage"
    " hangar depot yard laundry pharmacy surgery ward course lecture tour class concert festival"
    " parade race regatta fair auction meeting workshop exhibition ceremony dinner rehearsal"
    " committee council club guild team crew patrol society trust foundation service printer"
    " scanner server terminal panel switch cable battery generator turbine antenna dish receiver"
    " transmitter recorder monitor projector screen locker rack bin crate barrel sack parcel"
    " license permit ticket pass voucher form report survey manual fund prize award grant"
)

MODIFIERS = _listed(
    "north south east west upper lower old new great little main back front inner outer red blue"
    " green white black yellow grey brass copper iron wooden stone glass silver oil water steam"
    " wind tide harbour river lake sea coal salt sugar flour bread tea apple rose winter summer"
    " spring autumn night morning evening day weekly annual public private royal town village"
    " county school staff visitor guest children reading writing music art science weather star"
    " moon solar radio sound light fire flood storm rescue medical first second third spare"
    " emergency long short round square tall deep small large heavy quiet cold warm dry wet paper"
    " card leather wool cotton silk seed grain fish bird horse sheep goat bee cat dog duck guide"
    " research training history natural maritime railway mountain forest island coastal central"
)

JOBS = _listed(
    "director keeper warden manager curator librarian gardener cook baker porter guard watchman"
    " engineer mechanic electrician plumber carpenter painter printer pilot captain mate navigator"
    " driver conductor nurse doctor chemist teacher tutor clerk secretary treasurer chair archivist"
    " astronomer botanist geologist biologist historian surveyor inspector caretaker steward"
    " ranger shepherd farmer beekeeper blacksmith potter weaver tailor organist choirmaster"
    " photographer editor translator apprentice volunteer trainee"
)

JOB_MODIFIERS = _listed(
    "head chief deputy assistant senior junior night day duty former acting first second"
    " honorary visiting local"
)

PLURALS = _listed(
    "rooms beds seats windows doors steps shelves books maps boats lamps bells ropes sails chairs"
    " tables tools keys lockers crates barrels bottles jars plates cups pans ovens pumps valves"
    " pipes cables screens desks telescopes lenses mirrors cameras paintings statues coins stamps"
    " letters photographs records tapes films sheep goats horses cows hens ducks bees trees roses"
    " tulips benches lights flags masts wheels engines carriages wagons bicycles helmets jackets"
    " members volunteers pupils nurses guards visitors guests students workers singers players"
    " rowers divers climbers arches columns towers gates bridges tunnels berths moorings lanes"
    " pitches tents huts cabins hives nests ponds fountains exhibits specimens fossils shells"
    " samples drawings charts journals volumes tickets permits medals prizes floors panels"
    " batteries sensors buttons drawers cabinets stalls"
)

MATERIALS = _listed(
    "oak pine brass copper iron steel slate granite marble limestone brick clay glass leather wool"
    " cotton silk canvas linen bamboo bronze tin lead silver concrete sandstone walnut birch cedar"
    " porcelain rubber cork straw ivory pewter aluminium"
)

COLOURS = _listed(
    "red blue green yellow white black grey brown orange purple pink cream scarlet crimson navy"
    " turquoise gold silver violet amber"
)

FOODS = _listed(
    "soup|bread|fish stew|apple cake|pea soup|roast lamb|plum jam|honey cake|smoked eel|barley"
    " broth|cheese pie|lemon tart|rye bread|fried herring|onion tart|ginger biscuits|mint tea|hot"
    " chocolate|baked potatoes|mushroom pie|pear cider|oat porridge|pickled beets|carrot cake|corn"
    " fritters|lentil curry|rice pudding|bean salad|nettle soup|cherry pie",
    separator="|",
)

LANGUAGES = _listed(
    "French German Spanish Dutch Welsh Irish Latin Greek Arabic Hindi Japanese Danish Polish"
    " Portuguese Swahili Turkish Basque Finnish"
)

SUBSTANCES = _listed(
    "linseed oil|sea salt|cold water|white paint|black wax|soft soap|dry sand|lamp oil|fine"
    " chalk|wood ash|pine tar|beeswax|vinegar|green ink|brown paper|warm milk|rain water|fish"
    " glue|charcoal|lime wash|diesel|paraffin|compressed air|solar power|wind power|steam|peat|coal"
    " gas|hydrogen|batteries|straw|clean sawdust|copper wire|silver polish",
    separator="|",
)

PURPOSES = _listed(
    "storing grain|drying nets|mending sails|measuring rainfall|tracking satellites|training new"
    " staff|washing wool|pressing apples|printing posters|baking bread|lifting heavy"
    " crates|warning ships|teaching children|sorting letters|keeping records|cooling milk|grinding"
    " flour|testing water|counting birds|repairing engines|showing films|holding meetings|cutting"
    " timber|carrying visitors|watching the stars|heating the rooms|feeding the animals|cleaning"
    " the windows|opening the locks|treating wounds|growing seedlings|binding books|recording"
    " earthquakes|signalling the pilots|drying herbs|weighing parcels|polishing lenses|firing"
    " pots|spinning yarn|storing old maps|charging batteries|moving stones|clearing snow|pumping"
    " out water|cutting glass|melting wax|making rope|tuning instruments|drawing charts|hanging"
    " coats",
    separator="|",
)

GROUPS = _listed(
    "members|children|students|visitors|staff|pilots|nurses|teachers|local residents|school"
    " groups|registered readers|the crew|volunteers|night workers|fishermen|new members|families"
    "|retired sailors|researchers|guests of the director|cyclists|apprentices|the committee",
    separator="|",
)

DAYS = _listed("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = _listed(
    "January February March April May June July August September October November December"
)
SMALL_NUMBERS = _listed(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
    " eighteen twenty thirty forty fifty sixty"
)
CURRENCIES = ("crowns", "euros", "pounds", "dollars", "francs", "shillings", "coins", "marks")
UNITS = {
    "length": ("metres", "kilometres", "centimetres", "feet", "miles", "millimetres", "inches"),
    "weight": ("kilograms", "tonnes", "grams", "pounds", "tons"),
    "speed": ("knots", "kilometres an hour", "miles an hour"),
    "temperature": ("degrees",),
    "volume": ("litres", "gallons", "cubic metres", "barrels"),
    "power": ("watts", "kilowatts", "volts", "horsepower", "megahertz", "hertz"),
}
PERIODS = ("minutes", "hours", "days", "weeks", "months", "years", "seconds")


def is_held_out(value: str) -> bool:
    """Say whether a name or number belongs to the held-out share (a fixed hash decides)."""
    return zlib.crc32(value.lower().encode()) % HELD_OUT_SHARE == 0


class Words:
    """Draw words, names and numbers of one split from a seeded source."""

    def __init__(self, random: Random, split: Split) -> None:
        self.random = random
        self.split: Split = split

    def draw(self, make: Callable[[], str]) -> str:
        """Draw from `make` until the value belongs to this split."""
        wanted = self.split != "train"
        value = make()
        for _ in range(200):
            if is_held_out(value) == wanted:
                break
            value = make()
        return value

    def pick(self, values: Sequence[str]) -> str:
        """Pick one of a closed list, whatever the split."""
        return self.random.choice(values)

    def chance(self, share: float) -> bool:
        """Be true for this share of calls."""
        return self.random.random() < share

    # Names

    def name(self) -> str:
        """Make up a proper name of one word."""
        return self.draw(self._made_up_name)

    def _made_up_name(self) -> str:
        pick = self.random.choice
        kind = self.random.random()
        if kind < 0.06:
            letters = "".join(pick("abcdefghijklmnopqrstuvwxyz") for _ in range(pick((3, 4, 5, 6))))
            return letters.capitalize()
        syllables = [pick(ONSETS) + pick(VOWELS)]
        if kind < 0.25:
            syllables = [pick("aeiou") + pick(CODAS)]
        if self.random.random() < 0.4:
            syllables.append(pick(CODAS) if self.random.random() < 0.5 else "")
            syllables.append(pick(ONSETS) + pick(VOWELS))
        syllables.append(pick(CODAS) if self.random.random() < 0.45 else "")
        if self.random.random() < 0.55:
            syllables.append(pick(ENDINGS))
        return "".join(syllables).capitalize()

    def person(self) -> str:
        """Make up a person, with or without a title."""
        kind = self.random.random()
        first = self.pick(FIRST_NAMES) if self.chance(0.3) else self.name()
        if kind < 0.72:
            return f"{first} {self.name()}"
        if kind < 0.84:
            return f"{self.pick(TITLES)} {self.name()}"
        if kind < 0.9:
            return f"{first} {self.name()}-{self.name()}"
        if kind < 0.95:
            return f"{first} van {self.name()}" if self.chance(0.5) else f"{first} de {self.name()}"
        return self.name()

    def town(self) -> str:
        """Make up a town, a bay or a street."""
        kind = self.random.random()
        if kind < 0.6:
            return self.name()
        prefix = self.pick(("Port", "Cape", "New", "Saint", "Lower", "Upper", "Mount", "Fort"))
        if kind < 0.8:
            return f"{prefix} {self.name()}"
        suffix = self.pick(
            ("Bay", "Head", "Island", "Hill", "Street", "Point", "Cross", "Lane", "Sound", "Falls")
        )
        return f"{self.name()} {suffix}"

    def noun(self) -> str:
        """Pick a noun of this split."""
        return self.draw(lambda: self.pick(NOUNS))

    def modifier(self) -> str:
        """Pick what stands before a noun."""
        return self.pick(MODIFIERS)

    def thing(self) -> str:
        """Name a thing: "the tide bell", "the Merel Library", "the ferry Astrid"."""
        kind = self.random.random()
        noun = self.noun()
        forms: tuple[tuple[float, Callable[[], str]], ...] = (
            (0.48, lambda: f"the {self.modifier()} {noun}"),
            (0.51, lambda: f"the {noun} of the {self.modifier()} {self.pick(NOUNS)}"),
            (0.55, lambda: f"{self.pick(('a', 'each', 'every', 'a'))} {self.modifier()} {noun}"),
            (0.65, lambda: f"the {noun}"),
            (0.72, lambda: f"the {self.modifier()} {self.modifier()} {noun}"),
            (0.82, lambda: f"the {self.name()} {noun.capitalize()}"),
            (0.87, lambda: f"the {noun} {self.name()}"),
            (0.91, lambda: f"{self.name()} {noun.capitalize()}"),
            (0.96, lambda: f"the {noun} of {self.name()}"),
            (1.0, lambda: f"{noun} {self.random.randint(2, 40)}"),
        )
        return next(form for limit, form in forms if kind < limit)()

    def things(self) -> str:
        """Name several things at once: "the brass lamps", "sea charts"."""
        word = f"{self.modifier()} {self.pick(PLURALS)}"
        return f"the {word}" if self.chance(0.6) else word

    def stuff(self) -> str:
        """Name something that has no article: "linseed oil", "honey cake"."""
        return self.pick((*SUBSTANCES, *FOODS))

    def place(self) -> str:
        """Name a place inside or near: "the chart room", "Merel Bay"."""
        return self.thing() if self.chance(0.75) else self.town()

    def job(self) -> str:
        """Pick a role: "the deputy warden"."""
        job = self.pick(JOBS)
        kind = self.random.random()
        if kind < 0.4:
            return f"the {job}"
        if kind < 0.7:
            return f"the {self.pick(JOB_MODIFIERS)} {job}"
        return f"the {self.modifier()} {job}"

    def agent(self) -> str:
        """Name someone who does things: a person or a role."""
        return self.person() if self.chance(0.65) else self.job()

    # Numbers

    def integer(self, low: int = 2, high: int = 990) -> str:
        """Write a whole number in digits."""

        def make() -> str:
            kind = self.random.random()
            if kind < 0.5:
                return str(self.random.randint(low, min(high, 99)))
            if kind < 0.85:
                return str(self.random.randint(low, high))
            return f"{self.random.randint(1, 40)},{self.random.randint(0, 999):03d}"

        return self.draw(make)

    def count(self) -> str:
        """Write a number in digits or in words."""
        return self.pick(SMALL_NUMBERS) if self.chance(0.3) else self.integer()

    def year(self) -> str:
        """Pick a year."""
        return self.draw(lambda: str(self.random.randint(1520, 2024)))

    def time(self) -> str:
        """Write a time of day."""

        def make() -> str:
            hour, minute = self.random.randint(0, 23), self.random.randint(0, 59)
            if self.random.random() < 0.6:
                minute -= minute % 5
            if self.random.random() < 0.12:
                return f"{hour % 12 + 1} {self.pick(('a.m', 'p.m'))}"
            pad = "02d" if self.random.random() < 0.7 else "d"
            return f"{hour:{pad}}:{minute:02d}"

        return self.draw(make)

    def price(self) -> str:
        """Write an amount of money."""

        def make() -> str:
            amount = str(self.random.randint(2, 480))
            if self.random.random() < 0.35:
                amount = f"{self.random.randint(1, 60)}.{self.random.randint(0, 9)}0"
            if self.random.random() < 0.35:
                return self.pick(("€", "£", "$")) + amount
            return f"{amount} {self.pick(CURRENCIES)}"

        return self.draw(make)

    def code(self) -> str:
        """Make up a code: "K-417"."""

        def make() -> str:
            pick, number = self.random.choice, self.random.randint
            letters = "".join(pick("ABCDEFGHIJKLMNOPQRSTUVWXYZ") for _ in range(pick((1, 1, 2, 3))))
            kind = self.random.random()
            if kind < 0.5:
                return f"{letters}-{number(2, 9999)}"
            if kind < 0.65:
                return f"{letters}{number(2, 999)}"
            if kind < 0.75:
                return f"{number(1, 99)}-{letters}"
            if kind < 0.88:
                return str(number(100, 99999))
            return f"{letters} {number(10, 999)}-{number(1, 99)}"

        return self.draw(make)

    def date(self) -> str:
        """Write a day of the year, now and then with the year."""

        def make() -> str:
            date = f"{self.random.randint(1, 30)} {self.pick(MONTHS)}"
            if self.random.random() < 0.25:
                return f"{date} {self.random.randint(1850, 2024)}"
            return date

        return self.draw(make)

    def day(self) -> str:
        """Name a day or a season: closed sets, shared by both splits."""
        kind = self.random.random()
        if kind < 0.3:
            return self.pick(DAYS)
        if kind < 0.5:
            return f"{self.pick(DAYS)}s"
        if kind < 0.7:
            return (
                f"the {self.pick(('first', 'second', 'third', 'last'))} {self.pick(DAYS)} of "
                + (self.pick((*MONTHS, "the month")))
            )
        return self.date()

    def measure(self, kind: str) -> str:
        """Write a number with a unit of a kind in UNITS."""

        def make() -> str:
            number = str(self.random.randint(2, 950))
            if self.random.random() < 0.3:
                number = f"{self.random.randint(1, 60)}.{self.random.randint(1, 9)}"
            elif self.random.random() < 0.15:
                number = self.pick(SMALL_NUMBERS)
            return f"{number} {self.pick(UNITS[kind])}"

        return self.draw(make)

    def duration(self) -> str:
        """Write a length of time."""

        def make() -> str:
            number = str(self.random.randint(2, 90))
            if self.random.random() < 0.5:
                number = self.pick(SMALL_NUMBERS)
            return f"{number} {self.pick(PERIODS)}"

        return self.draw(make)

    def frequency(self) -> str:
        """Say how often."""
        kind = self.random.random()
        if kind < 0.4:
            return f"every {self.duration()}"
        if kind < 0.7:
            return f"every {self.pick((*DAYS, *MONTHS, 'morning', 'evening', 'spring', 'week'))}"
        return f"{self.pick(('once', 'twice', 'three times', 'four times'))} a " + self.pick(
            ("day", "week", "month", "year", "season")
        )

    # Closed lists

    def plural(self) -> str:
        """Pick things that can be counted."""
        word = self.pick(PLURALS)
        return f"{self.modifier()} {word}" if self.chance(0.3) else word

    def material(self) -> str:
        """Pick what things are made of."""
        word = self.pick(MATERIALS)
        return f"{self.pick(COLOURS)} {word}" if self.chance(0.3) else word

    def colour(self) -> str:
        """Pick a colour or two."""
        word = self.pick(COLOURS)
        kind = self.random.random()
        if kind < 0.15:
            return f"{self.pick(('dark', 'pale', 'bright', 'deep'))} {word}"
        if kind < 0.3:
            return f"{word} and {self.pick(COLOURS)}"
        return word

    def purpose(self) -> str:
        """Pick what things are used for."""
        return self.pick(PURPOSES)

    def substance(self) -> str:
        """Pick what things are filled or cleaned with."""
        return self.pick(SUBSTANCES)

    def food(self) -> str:
        """Pick a dish."""
        return self.pick(FOODS)

    def group(self) -> str:
        """Pick people for whom a thing is kept."""
        return self.pick(GROUPS)

    def language(self) -> str:
        """Pick a language."""
        return self.pick(LANGUAGES)

    def length(self) -> str:
        """Write a length."""
        return self.measure("length")
