"""The two-view join by Feast's DuckDB offline store: feast_latest.py DATA.json OUTPUT.parquet. Prints its own usage as JSON."""

import json
import os
import resource
import sys
import tempfile
import time
from datetime import timedelta

os.environ["FEAST_USAGE"] = "False"

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64

data = json.load(open(sys.argv[1]))
types = {"mean_delay": Float64, "late_share": Float64, "flights": Int64, "cancelled": Int64}
with tempfile.TemporaryDirectory() as folder:
    store = FeatureStore(
        config=RepoConfig(
            project="bench",
            provider="local",
            registry=os.path.join(folder, "registry.db"),
            offline_store={"type": "duckdb"},
            online_store={"type": "sqlite", "path": os.path.join(folder, "online.db")},
            entity_key_serialization_version=3,
        )
    )
    entities = {
        part: Entity(name=part, join_keys=[part], value_type=ValueType.STRING)
        for part in {part for table in data["tables"] for part in table["key"]}
    }
    views = [
        FeatureView(
            name=table["name"],
            entities=[entities[part] for part in table["key"]],
            ttl=timedelta(microseconds=table["ttlMicros"]),
            schema=[Field(name=value, dtype=types[value]) for value in table["values"]],
            source=FileSource(
                name=f"{table['name']}_source",
                path=table["path"],
                timestamp_field="event_timestamp",
                created_timestamp_column="created",
            ),
            online=False,
        )
        for table in data["tables"]
    ]
    store.apply([*entities.values(), *views])

    def used():
        return sum(
            getattr(resource.getrusage(who), kind)
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
            for kind in ("ru_utime", "ru_stime")
        )

    cpu, wall = used(), time.monotonic()
    asked = pd.read_parquet(data["spine"], columns=["row_id", "event_timestamp", "origin", "dest"])
    features = [f"{table['name']}:{value}" for table in data["tables"] for value in table["values"]]
    job = store.get_historical_features(entity_df=asked, features=features, full_feature_names=True)
    job.to_df().to_parquet(sys.argv[2])
    print(
        json.dumps(
            {
                "cpuSeconds": used() - cpu,
                "wallSeconds": time.monotonic() - wall,
                "peakMiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            }
        )
    )
