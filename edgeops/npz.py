"""What reading a damaged `.npz` archive may raise: zipfile and numpy promise little of it."""

import lzma
import tokenize
import zipfile
import zlib

#: RuntimeError: encrypted, a compression that is not known (NotImplementedError), nested too deep (RecursionError).
#: MemoryError: an array that claims to be larger than any memory. The last two: a header that numpy cannot make out.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    OverflowError,
    RuntimeError,
    MemoryError,
    SyntaxError,
    tokenize.TokenError,
)
