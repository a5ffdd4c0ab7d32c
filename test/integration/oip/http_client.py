"""What the real tritonclient sees over HTTP: http_client.py HOST:PORT (models m: linear, all: identity of six types)."""
import asyncio
import sys

import numpy as np
import tritonclient.http as http
import tritonclient.http.aio as aio
from tritonclient.utils import InferenceServerException

address = sys.argv[1]
c = http.InferenceServerClient(address)
assert c.is_server_live() and c.is_server_ready() and c.is_model_ready("m") and c.is_model_ready("m", "1")
assert not c.is_model_ready("nope")
assert c.get_server_metadata()["name"] == "serin"
assert c.get_model_metadata("m")["inputs"] == [{"name": "features", "datatype": "FP32", "shape": [-1, 2]}]
assert c.get_model_config("m")["max_batch_size"] == 512

for binary_in in (True, False):
    for binary_out in (True, False):
        given = http.InferInput("features", [2, 2], "FP32")
        given.set_data_from_numpy(np.array([[1, 2], [3, 4]], dtype=np.float32), binary_data=binary_in)
        asked = [http.InferRequestedOutput("score", binary_data=binary_out)]
        answer = c.infer("m", [given], outputs=asked, request_id="x")
        assert answer.as_numpy("score").tolist() == [[2.25], [5.25]]
        assert answer.get_response()["id"] == "x"
assert c.infer("m", [given]).as_numpy("score").tolist() == [[2.25], [5.25]]
for algorithm in ("gzip", "deflate"):
    answer = c.infer("m", [given], request_compression_algorithm=algorithm, response_compression_algorithm=algorithm)
    assert answer.as_numpy("score").shape == (2, 1)

for binary in (True, False):
    data = {
        "FP32": np.array([[1.5, 2]], np.float32),
        # JSON numbers end at 2^53
        "INT64": np.array([[2**60 + 1 if binary else 2**53 - 1, -5]], np.int64),
        "BYTES": np.array([["a", "ü☃"]], dtype=object),
        "BOOL": np.array([[True, False]]),
        "FP16": np.array([[1.5, 65504]], np.float16),
        "FP64": np.array([[1e300, 0.1]]),
    }
    inputs = []
    for k, (datatype, array) in enumerate(data.items()):
        tensor = http.InferInput(f"in{k}", [1, 2], datatype)
        # the client itself sends FP16 as binary only
        tensor.set_data_from_numpy(array, binary_data=binary or datatype == "FP16")
        inputs.append(tensor)
    asked = [http.InferRequestedOutput(f"out{k}", binary_data=binary or t == "FP16") for k, t in enumerate(data)]
    answer = c.infer("all", inputs, outputs=asked)
    for k, (datatype, array) in enumerate(data.items()):
        got = answer.as_numpy(f"out{k}")
        if datatype == "BYTES":
            got = np.array([[x.decode() if isinstance(x, bytes) else x for x in got[0]]], dtype=object)
        assert (got == array).all(), (datatype, binary, got, array)


def refused(call, status, part):
    try:
        call()
    except InferenceServerException as error:
        assert status in str(error.status()) and part in error.message(), error
        return
    raise AssertionError(f"{part}: was not refused")


refused(lambda: c.infer("nope", [given]), "404", "unknown model 'nope'")
refused(lambda: c.infer("m", [given], model_version="7"), "404", "no version '7'")
wide = http.InferInput("features", [1, 3], "FP32")
wide.set_data_from_numpy(np.zeros((1, 3), np.float32))
refused(lambda: c.infer("m", [wide]), "400", "unexpected shape for input 'features'")
other = http.InferInput("features", [1, 2], "INT64")
other.set_data_from_numpy(np.zeros((1, 2), np.int64))
refused(lambda: c.infer("m", [other]), "400", "data-type is 'INT64', but model 'm' expects 'FP32'")

assert c.get_inference_statistics("m")["model_stats"][0]["inference_count"] >= 10
assert [(m["name"], m["state"]) for m in c.get_model_repository_index()] == [("m", "READY"), ("all", "READY")]
c.unload_model("m")
assert not c.is_model_ready("m")
refused(lambda: c.infer("m", [given]), "503", "unloaded")
c.load_model("m")
assert c.is_model_ready("m")


async def many():
    client = aio.InferenceServerClient(address)
    assert await client.is_server_live()
    answers = await asyncio.gather(*[client.infer("m", [given]) for _ in range(50)])
    assert all(answer.as_numpy("score").tolist() == [[2.25], [5.25]] for answer in answers)
    await client.close()


asyncio.run(many())
print("ok")
