"""Which operators a `.tflite` file uses, and which runtime knows them: read from the flatbuffer, without TensorFlow.

Of TFLite's schema (schema.fbs, version 3; flatbuffer layout: https://flatbuffers.dev/internals) only operator codes,
metadata and what that names of buffers are read. Every offset is checked, for the bytes may come from anywhere.
"""

import re
import struct
from collections.abc import Iterator

from edgeops.errors import ArtifactError

#: Fields of the schema's tables, in order of declaration.
_MODEL_OPERATOR_CODES, _MODEL_BUFFERS, _MODEL_METADATA = 1, 4, 6
_METADATA_NAME, _METADATA_BUFFER = 0, 1
_BUFFER_DATA = 0
#: What the converter of TensorFlow writes: the first version whose runtime knows all operators, padded with zeros.
_MINIMAL_RUNTIME = b"min_runtime_version"
_VERSION = re.compile(rb"([0-9]{1,4}(?:\.[0-9]{1,4}){1,2})\0*")
_MAX_METADATA, _MAX_VERSION_BYTES = 100, 32
_CODE_DEPRECATED, _CODE_CUSTOM, _CODE_VERSION, _CODE_BUILTIN = 0, 1, 2, 3
_CUSTOM = 32
_MAX_OPERATORS = 1_000

#: BuiltinOperator of schema.fbs, by number; the rest is called `BUILTIN_<number>`.
_NAMES = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
    FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION
    LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH
    CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
    BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
    BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
    ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE
    EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR
    ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE
    RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND
    COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
    NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
    PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO
""".split()  # noqa: SIM905 - a list literal of 131 quoted names reads worse


def operators(tflite: bytes) -> dict[str, int]:
    """Operator name -> highest version used, sorted by name; custom operators are `CUSTOM:<name>`.

    Raises:
        ArtifactError: the bytes are no TFLite flatbuffer.
    """
    try:
        return _operators(tflite)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ArtifactError(f"not a TFLite model: an offset points outside its {len(tflite)} bytes") from error


def minimal_runtime(tflite: bytes) -> str | None:
    """The first version of TensorFlow Lite that knows all operators, as the converter wrote it; None = it did not.

    Raises:
        ArtifactError: the bytes are no TFLite flatbuffer.
    """
    try:
        return _minimal_runtime(tflite)
    except (struct.error, IndexError) as error:
        raise ArtifactError(f"not a TFLite model: an offset points outside its {len(tflite)} bytes") from error


def _minimal_runtime(data: bytes) -> str | None:
    _require_tflite(data)
    model = _unsigned(data, 0)
    for table in _tables(data, model, _MODEL_METADATA, most=_MAX_METADATA):
        name = _bytes(data, table, _METADATA_NAME, most=len(_MINIMAL_RUNTIME))
        if name != _MINIMAL_RUNTIME:
            continue
        place = _scalar(data, table, _METADATA_BUFFER, "<I", default=0)
        buffers = _reference(data, model, _MODEL_BUFFERS)
        if buffers is None or place >= _unsigned(data, buffers):
            return None
        buffer = buffers + 4 + 4 * place
        content = _bytes(data, buffer + _unsigned(data, buffer), _BUFFER_DATA, most=_MAX_VERSION_BYTES)
        found = _VERSION.fullmatch(content)
        return None if found is None else found[1].decode()
    return None


def _tables(data: bytes, owner: int, field: int, *, most: int) -> Iterator[int]:
    """Where the tables of a vector stand, the first `most` of them."""
    vector = _reference(data, owner, field)
    count = 0 if vector is None else min(_unsigned(data, vector), most)
    for position in range(count):
        assert vector is not None
        at = vector + 4 + 4 * position
        yield at + _unsigned(data, at)


def _bytes(data: bytes, table: int, field: int, *, most: int) -> bytes:
    """A text or a vector of bytes; empty where it is absent or longer than `most`."""
    at = _reference(data, table, field)
    length = 0 if at is None else _unsigned(data, at)
    return data[at + 4 : at + 4 + length] if at is not None and length <= most else b""


def _operators(data: bytes) -> dict[str, int]:
    _require_tflite(data)
    vector = _reference(data, _unsigned(data, 0), _MODEL_OPERATOR_CODES)
    count = 0 if vector is None else _unsigned(data, vector)
    if vector is None or count > _MAX_OPERATORS:
        raise ArtifactError(f"not a TFLite model: {count} operator codes")
    found: dict[str, int] = {}
    for position in range(count):
        at = vector + 4 + 4 * position
        table = at + _unsigned(data, at)
        version = _scalar(data, table, _CODE_VERSION, "<i", default=1)
        name = _name(data, table)
        found[name] = max(version, found.get(name, 0))
    return dict(sorted(found.items()))


def _require_tflite(data: bytes) -> None:
    if data[4:8] != b"TFL3":
        raise ArtifactError(f"not a TFLite model: expected 'TFL3' at byte 4, got {data[4:8]!r}")


def _name(data: bytes, table: int) -> str:
    # The code moved to a wider field; the larger of both is the right one (schema.fbs, OperatorCode).
    deprecated = _scalar(data, table, _CODE_DEPRECATED, "<b", default=0)
    code = max(deprecated, _scalar(data, table, _CODE_BUILTIN, "<i", default=0))
    if code != _CUSTOM:
        return _NAMES[code] if 0 <= code < len(_NAMES) else f"BUILTIN_{code}"
    text = _reference(data, table, _CODE_CUSTOM)
    if text is None:
        return "CUSTOM:"
    length = _unsigned(data, text)
    return "CUSTOM:" + data[text + 4 : text + 4 + length].decode()


def _field(data: bytes, table: int, field: int) -> int | None:
    """Where a field of a table stands; None when it is absent."""
    (back,) = struct.unpack_from("<i", data, _inside(table))
    vtable = _inside(table - back)
    (vtable_bytes,) = struct.unpack_from("<H", data, vtable)
    slot = 4 + 2 * field
    if slot + 2 > vtable_bytes:
        return None
    (offset,) = struct.unpack_from("<H", data, vtable + slot)
    return table + offset if offset else None


def _reference(data: bytes, table: int, field: int) -> int | None:
    at = _field(data, table, field)
    return None if at is None else at + _unsigned(data, at)


def _scalar(data: bytes, table: int, field: int, layout: str, *, default: int) -> int:
    at = _field(data, table, field)
    return default if at is None else int(struct.unpack_from(layout, data, _inside(at))[0])


def _unsigned(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, _inside(at))[0])


def _inside(at: int) -> int:
    """`struct` counts negative offsets from the end; here they are errors."""
    if at < 0:
        raise IndexError(at)
    return at
