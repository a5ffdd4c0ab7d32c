/**
 * ONNX Runtime ≥ 1.29 sends telemetry from Linux unless this variable is set before its first session: it writes a device
 * id and a database into a per-user folder and talks to the network. Imported for its effect, before onnxruntime-node.
 */
process.env['ORT_DISABLE_TELEMETRY'] = '1';
