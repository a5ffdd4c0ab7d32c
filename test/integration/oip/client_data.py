"""What both clients send and expect. Models: m is linear, all gives back one tensor of each datatype, wide a row of 1,000."""
import numpy as np
from tritonclient.utils import InferenceServerException

# in the order of the inputs of the model `all` (onnx.proto's numbers 1 to 13)
ALL = {
    "FP32": np.array([[1.5, -0.0]], np.float32),
    "UINT8": np.array([[0, 255]], np.uint8),
    "INT8": np.array([[-128, 127]], np.int8),
    "UINT16": np.array([[0, 65535]], np.uint16),
    "INT16": np.array([[-32768, 32767]], np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], np.int32),
    "INT64": np.array([[2**60 + 1, -(2**63)]], np.int64),
    "BYTES": np.array([["", "ü☃🛫"]], dtype=object),
    "BOOL": np.array([[True, False]]),
    "FP16": np.array([[1.5, 65504]], np.float16),
    "FP64": np.array([[1e300, 5e-324]]),
    "UINT32": np.array([[0, 2**32 - 1]], np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], np.uint64),
}
# what a JSON number does not hold, and what the client itself does not send as JSON
NO_JSON = {"INT64": np.array([[2**53 - 1, -(2**53) + 1]], np.int64), "UINT64": np.array([[0, 2**53 - 1]], np.uint64)}
BINARY_ONLY = {"FP16"}

# four MiB, and nothing of it twice
LARGE = np.arange(1_048_000, dtype=np.float32).reshape(-1, 1_000)


def same(datatype, got, expected):
    if datatype == "BYTES":
        got = np.array([[each.decode() if isinstance(each, bytes) else each for each in row] for row in got], dtype=object)
        assert (got == expected).all(), (got, expected)
    else:
        assert got.dtype == expected.dtype and got.tobytes() == expected.tobytes(), (datatype, got, expected)


def refused(call, status, part):
    try:
        call()
    except InferenceServerException as error:
        assert status in str(error.status()) and part in error.message(), error
        return
    raise AssertionError(f"{part}: was not refused")


def linear_input(module, rows):
    given = module.InferInput("features", [len(rows), 2], "FP32")
    given.set_data_from_numpy(np.array(rows, dtype=np.float32))
    return given


def wrong_inputs(module):
    """Inputs of the model `m` that are refused, with what is said."""
    wide = module.InferInput("features", [1, 3], "FP32")
    wide.set_data_from_numpy(np.zeros((1, 3), np.float32))
    other = module.InferInput("features", [1, 2], "INT64")
    other.set_data_from_numpy(np.zeros((1, 2), np.int64))
    named = module.InferInput("x", [1, 2], "FP32")
    named.set_data_from_numpy(np.zeros((1, 2), np.float32))
    empty = module.InferInput("features", [0, 2], "FP32")
    empty.set_data_from_numpy(np.zeros((0, 2), np.float32))
    return [
        (wide, "unexpected shape for input 'features'"),
        (other, "data-type is 'INT64', but model 'm' expects 'FP32'"),
        (named, 'unexpected inference input "x"'),
        (empty, "has no rows"),
    ]


async def many(client, module):
    """Each of many requests at once gets its own answer."""
    import asyncio

    answers = await asyncio.gather(*[client.infer("m", [linear_input(module, [[k, 0]])]) for k in range(200)])
    assert [answer.as_numpy("score").tolist() for answer in answers] == [[[k + 0.25]] for k in range(200)]
