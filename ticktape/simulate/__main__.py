"""`python -m ticktape.simulate opend …`."""

from ticktape.simulate.cli import simulate_app

simulate_app(prog_name="python -m ticktape.simulate")
