"""HDF5 files: arrays only, and the only import of h5py.

A file that is being written holds every row at its full, preallocated size, so that a killed process leaves
a whole file; a finished one is packed: trimmed, compressed, checksummed. `Writer` makes them, `Reader` reads
either kind, `verify` looks for damage.
"""

from wflow.store.files import STATUS
from wflow.store.layout import SCHEMA, Layout, Variable
from wflow.store.reader import Reader
from wflow.store.rows import stuck
from wflow.store.slots import Checkpoint
from wflow.store.verify import verify
from wflow.store.writer import Writer

__all__ = ["SCHEMA", "STATUS", "Checkpoint", "Layout", "Reader", "Variable", "Writer", "stuck", "verify"]
