"""LitServe and ONNX Runtime: MODEL=file PORT=n python litserve_server.py"""
import os

import litserve
import numpy
import onnxruntime


class Model(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)

    def decode_request(self, request):
        tensor = request["inputs"][0]
        return numpy.array(tensor["data"], dtype=numpy.float32).reshape(tensor["shape"])

    def predict(self, features):
        return self.session.run(["probabilities"], {"features": features})[0]

    def encode_response(self, probabilities):
        output = {
            "name": "probabilities",
            "shape": list(probabilities.shape),
            "datatype": "FP32",
            "data": probabilities.ravel().tolist(),
        }
        return {"model_name": "m", "model_version": "1", "outputs": [output]}


if __name__ == "__main__":
    server = litserve.LitServer(Model(api_path="/v2/models/m/infer"), accelerator="cpu", workers_per_device=1)
    server.run(port=int(os.environ["PORT"]), generate_client_file=False, log_level="warning")
