// The honest rival: ONNX Runtime behind net/http in one file of Go, answering the Open Inference Protocol's infer call in
// JSON and nothing else. No batching, routing, metrics or log.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

const width = 12

type tensor struct {
	Name     string    `json:"name"`
	Shape    []int64   `json:"shape"`
	Datatype string    `json:"datatype"`
	Data     []float32 `json:"data"`
}

type request struct {
	ID     string   `json:"id,omitempty"`
	Inputs []tensor `json:"inputs"`
}

type response struct {
	ModelName    string   `json:"model_name"`
	ModelVersion string   `json:"model_version"`
	ID           string   `json:"id,omitempty"`
	Outputs      []tensor `json:"outputs"`
}

// One session with its own memory; requests take one from a pool.
type runner struct {
	input, output *ort.Tensor[float32]
	session       *ort.AdvancedSession
}

func newRunner(path string, options *ort.SessionOptions) *runner {
	input := must(ort.NewEmptyTensor[float32](ort.NewShape(1, width)))
	output := must(ort.NewEmptyTensor[float32](ort.NewShape(1, 2)))
	session := must(ort.NewAdvancedSession(path, []string{"features"}, []string{"probabilities"},
		[]ort.Value{input}, []ort.Value{output}, options))
	return &runner{input, output, session}
}

func main() {
	address := flag.String("address", "127.0.0.1:8090", "host:port")
	model := flag.String("model", "", "ONNX file")
	library := flag.String("library", "", "libonnxruntime")
	sessions := flag.Int("sessions", 4, "sessions")
	flag.Parse()
	ort.SetSharedLibraryPath(*library)
	check(ort.InitializeEnvironment())
	options := must(ort.NewSessionOptions())
	check(options.SetIntraOpNumThreads(1))
	check(options.SetInterOpNumThreads(1))
	pool := make(chan *runner, *sessions)
	for i := 0; i < *sessions; i++ {
		pool <- newRunner(*model, options)
	}
	buffers := sync.Pool{New: func() any { return new(request) }}
	http.HandleFunc("/v2/health/ready", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) })
	http.HandleFunc("/v2/models/m/infer", func(w http.ResponseWriter, r *http.Request) {
		asked := buffers.Get().(*request)
		defer buffers.Put(asked)
		asked.Inputs = asked.Inputs[:0]
		if err := json.NewDecoder(r.Body).Decode(asked); err != nil || len(asked.Inputs) != 1 || len(asked.Inputs[0].Data) != width {
			http.Error(w, `{"error":"expected one input of 12 values"}`, 400)
			return
		}
		run := <-pool
		copy(run.input.GetData(), asked.Inputs[0].Data)
		err := run.session.Run()
		answer := append([]float32(nil), run.output.GetData()...)
		pool <- run
		if err != nil {
			http.Error(w, `{"error":"the model failed"}`, 500)
			return
		}
		body, _ := json.Marshal(response{"m", "1", asked.ID, []tensor{{"probabilities", []int64{1, 2}, "FP32", answer}}})
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	})
	check(http.ListenAndServe(*address, nil))
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
