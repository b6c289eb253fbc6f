"""Questions about a flow that need no run: where it rests, how fast it gets there, which way it goes first."""

from wflow.spectra.equilibria import equilibrium
from wflow.spectra.passage import committor, first_passage_time
from wflow.spectra.rates import Spectrum, spectrum

__all__ = ["Spectrum", "committor", "equilibrium", "first_passage_time", "spectrum"]
