"""Plain English words that tasks are made of; each a single token in most vocabularies."""

NAMES = (
    *("Mary", "John", "Tom", "James", "Anna", "Paul", "David", "Sarah", "Peter", "Kate", "Mark", "Jane"),
    *("Michael", "Laura", "Robert", "Alice", "Simon", "Emma", "George", "Lucy", "Daniel", "Helen", "Jack", "Rose"),
)
PLACES = ("store", "park", "school", "office", "station", "garden", "market", "library")
GIFTS = ("book", "bottle", "letter", "picture", "ring", "key", "basket", "drink")
SPANS = ("war", "siege", "journey", "marriage", "drought", "expedition", "trial", "reign", "project", "voyage")
CENTURIES = ("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen")
DECADES = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
NOUNS = (  # singular, plural
    *(("key", "keys"), ("door", "doors"), ("picture", "pictures"), ("letter", "letters"), ("bridge", "bridges")),
    *(("clock", "clocks"), ("machine", "machines"), ("book", "books"), ("bottle", "bottles"), ("table", "tables")),
    *(("chair", "chairs"), ("window", "windows"), ("dog", "dogs"), ("cat", "cats"), ("horse", "horses")),
    *(("teacher", "teachers"), ("doctor", "doctors"), ("author", "authors"), ("pilot", "pilots")),
    *(("guard", "guards"), ("king", "kings"), ("father", "fathers"), ("queen", "queens"), ("mother", "mothers")),
)
VERBS = (("is", "are"), ("was", "were"), ("has", "have"))
PREPOSITIONS = ("near", "behind", "with")
PLAIN = (
    *("apple", "river", "stone", "cloud", "table", "horse", "paper", "music", "light", "water", "house", "garden"),
    *("winter", "silver", "bridge", "letter", "window", "forest", "doctor", "market", "engine", "island", "button"),
    *("camera", "dragon", "flower", "hammer", "jacket", "ladder", "mirror", "needle", "orange", "pencil", "rabbit"),
)
