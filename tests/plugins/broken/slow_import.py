"""Does its work when it is imported."""

import time

time.sleep(0.6)
