"""Short names of countries and regions that people write and the service does not return."""

COUNTRY_CODES = {
    "america": "US",
    "britain": "GB",
    "burma": "MM",
    "czech republic": "CZ",
    "great britain": "GB",
    "holland": "NL",
    "hong kong": "HK",
    "ivory coast": "CI",
    "korea": "KR",
    "macao": "MO",
    "macau": "MO",
    "north korea": "KP",
    "puerto rico": "PR",
    "south korea": "KR",
    "taiwan": "TW",
    "turkey": "TR",
    "uae": "AE",
    "uk": "GB",
    "united states of america": "US",
    "usa": "US",
}
"""ISO 3166 codes by other names. Territories such as Hong Kong come without a country's name."""

# fmt: off
REGIONS = {
    "US": {
        "al": "Alabama", "ak": "Alaska", "az": "Arizona", "ar": "Arkansas", "ca": "California",
        "co": "Colorado", "ct": "Connecticut", "de": "Delaware", "dc": "District of Columbia",
        "fl": "Florida", "ga": "Georgia", "hi": "Hawaii", "id": "Idaho", "il": "Illinois",
        "in": "Indiana", "ia": "Iowa", "ks": "Kansas", "ky": "Kentucky", "la": "Louisiana",
        "me": "Maine", "md": "Maryland", "ma": "Massachusetts", "mi": "Michigan",
        "mn": "Minnesota", "ms": "Mississippi", "mo": "Missouri", "mt": "Montana",
        "ne": "Nebraska", "nv": "Nevada", "nh": "New Hampshire", "nj": "New Jersey",
        "nm": "New Mexico", "ny": "New York", "nc": "North Carolina", "nd": "North Dakota",
        "oh": "Ohio", "ok": "Oklahoma", "or": "Oregon", "pa": "Pennsylvania",
        "ri": "Rhode Island", "sc": "South Carolina", "sd": "South Dakota", "tn": "Tennessee",
        "tx": "Texas", "ut": "Utah", "vt": "Vermont", "va": "Virginia", "wa": "Washington",
        "wv": "West Virginia", "wi": "Wisconsin", "wy": "Wyoming",
    },
    "CA": {
        "ab": "Alberta", "bc": "British Columbia", "mb": "Manitoba", "nb": "New Brunswick",
        "nl": "Newfoundland and Labrador", "ns": "Nova Scotia", "nt": "Northwest Territories",
        "nu": "Nunavut", "on": "Ontario", "pe": "Prince Edward Island", "qc": "Quebec",
        "sk": "Saskatchewan", "yt": "Yukon",
    },
    "AU": {
        "act": "Australian Capital Territory", "nsw": "New South Wales",
        "nt": "Northern Territory", "qld": "Queensland", "sa": "South Australia",
        "tas": "Tasmania", "vic": "Victoria", "wa": "Western Australia",
    },
}
# fmt: on
"""Abbreviated first-level regions by ISO 3166 code of their country."""
