"""Where the simulated people live and travel to."""

from typing import Final, NamedTuple

import numpy as np

from simulate.rows import Floats, Ints


class Place(NamedTuple):
    """A city: people (thousands) weigh how many live there or travel there; hours are ahead of the bank's own."""

    name: str
    country: str
    lat: float
    lon: float
    n_people: float
    hours_ahead: int = 0


HOME: Final = (
    Place("Berlin", "DE", 52.52, 13.40, 3700),
    Place("Hamburg", "DE", 53.55, 9.99, 1850),
    Place("Munich", "DE", 48.14, 11.58, 1500),
    Place("Cologne", "DE", 50.94, 6.96, 1080),
    Place("Frankfurt", "DE", 50.11, 8.68, 770),
    Place("Stuttgart", "DE", 48.78, 9.18, 630),
    Place("Leipzig", "DE", 51.34, 12.37, 610),
    Place("Dortmund", "DE", 51.51, 7.47, 590),
    Place("Bremen", "DE", 53.08, 8.80, 570),
    Place("Dresden", "DE", 51.05, 13.74, 560),
    Place("Hanover", "DE", 52.37, 9.73, 540),
    Place("Nuremberg", "DE", 49.45, 11.08, 520),
    Place("Mannheim", "DE", 49.49, 8.47, 310),
    Place("Freiburg", "DE", 47.99, 7.85, 230),
    Place("Rostock", "DE", 54.09, 12.14, 210),
    Place("Vienna", "AT", 48.21, 16.37, 400),
    Place("Salzburg", "AT", 47.80, 13.04, 80),
)
"""Cities in which cards have their homes."""

ABROAD: Final = (
    Place("Palma", "ES", 39.57, 2.65, 900),
    Place("Barcelona", "ES", 41.39, 2.17, 500),
    Place("Rome", "IT", 41.90, 12.50, 500),
    Place("Venice", "IT", 45.44, 12.32, 300),
    Place("Heraklion", "GR", 35.34, 25.13, 350, 1),
    Place("Antalya", "TR", 36.90, 30.70, 450, 2),
    Place("Paris", "FR", 48.86, 2.35, 450),
    Place("Amsterdam", "NL", 52.37, 4.90, 400),
    Place("London", "GB", 51.51, -0.13, 350, -1),
    Place("Prague", "CZ", 50.08, 14.44, 300),
    Place("Warsaw", "PL", 52.23, 21.01, 200),
    Place("New York", "US", 40.71, -74.01, 150, -6),
    Place("Bangkok", "TH", 13.76, 100.50, 120, 6),
)
"""Where holidays abroad lead to."""

PLACES: Final = HOME + ABROAD
ONLINE: Final = len(PLACES)
"""Place code of merchants without a place."""

LAT: Final[Floats] = np.array([place.lat for place in PLACES])
LON: Final[Floats] = np.array([place.lon for place in PLACES])
PEOPLE: Final[Floats] = np.array([place.n_people for place in PLACES])
HOURS_AHEAD: Final[Ints] = np.array([*(place.hours_ahead for place in PLACES), 0], dtype=np.int64)
"""By place code, ONLINE included."""


def neighbour() -> Ints:
    """Return, for each home city, the code of the nearest other one.

    >>> PLACES[neighbour()[1]].name
    'Bremen'
    """
    n = len(HOME)
    squared = (LAT[:n, None] - LAT[None, :n]) ** 2 + (0.64 * (LON[:n, None] - LON[None, :n])) ** 2
    np.fill_diagonal(squared, np.inf)
    nearest: Ints = squared.argmin(axis=1)
    return nearest
