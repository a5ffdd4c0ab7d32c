"""Feast's online store, driven by lines of JSON on stdin: what it is asked to measure, answered by lines of JSON on stdout."""

import json
import random
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64


def value(view, feature, customer):
    return view * 1_000_000 + feature * 100_000 + customer + 0.25


def main():
    repo, config, views, features, customers = sys.argv[1:6]
    views, features, customers = int(views), int(features), int(customers)
    repo = Path(repo)
    repo.mkdir(parents=True, exist_ok=True)
    (repo / "feature_store.yaml").write_text(config)
    now = datetime.now(timezone.utc)
    frame = pd.DataFrame({"customer": range(customers), "event_timestamp": now, "created": now})
    names = [f"f{i}" for i in range(features)]
    entity = Entity(name="customer", join_keys=["customer"], value_type=ValueType.INT64)
    definitions = [entity]
    frames = {}
    for v in range(views):
        own = frame.copy()
        for f in range(features):
            own[f"f{f}"] = [value(v, f, c) for c in range(customers)]
        path = repo / f"view{v}.parquet"
        own.to_parquet(path)
        frames[f"view{v}"] = own
        source = FileSource(path=str(path), timestamp_field="event_timestamp", created_timestamp_column="created")
        definitions.append(
            FeatureView(
                name=f"view{v}",
                entities=[entity],
                ttl=timedelta(days=30),
                schema=[Field(name=name, dtype=Float64) for name in names],
                source=source,
            )
        )
    store = FeatureStore(repo_path=str(repo))
    store.apply(definitions)
    started = time.perf_counter()
    for name, own in frames.items():
        store.write_to_online_store(name, own)
    seconds = time.perf_counter() - started
    say({"ready": True, "rowsPerSecond": views * customers / seconds})
    asked = [f"view{v}:{name}" for v in range(views) for name in names]
    for line in sys.stdin:
        command = json.loads(line)
        random.seed(command["seed"])
        latencies = []
        until = time.perf_counter() + command["ms"] / 1000
        while time.perf_counter() < until:
            rows = [{"customer": random.randrange(customers)} for _ in range(command["entities"])]
            begun = time.perf_counter()
            answer = store.get_online_features(
                features=asked, entity_rows=rows, full_feature_names=True
            ).to_dict()
            latencies.append((time.perf_counter() - begun) * 1000)
            if answer["view0__f1"][-1] != value(0, 1, rows[-1]["customer"]):
                raise SystemExit(f"a wrong value: {answer['view0__f1'][-1]} for {rows[-1]}")
        say({"latencies": latencies})


def say(message):
    print(json.dumps(message), flush=True)


main()
