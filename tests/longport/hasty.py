"""`ticktape`, but a LongPort gateway connects again at once however short its last connection was.

A gateway that lets one in and hangs up is left alone for longer each time; a run of many reconnects would take
hours.
"""

from ingest.longport import gateway
from ticktape.cli import main

gateway._STEADY_S = 0.0

if __name__ == "__main__":
    main()
