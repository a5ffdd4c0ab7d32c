module serin.dev/bench/load

go 1.22
