"""Writes the models and the rows that tests/import.rs reads. Run once, by hand, when a package's format changes:

    python -m venv venv && venv/bin/pip install numpy scipy lightgbm catboost && venv/bin/pip install --no-deps xgboost
    venv/bin/python services/scorer/tests/import/author.py

With the argument `2`, and XGBoost 2 installed, it adds the model of that version to rows that are there already.
forust.json and its predictions are forust-ml 0.8.0's: `json_dump` of 20 trees of depth 5 with base score -0.4, trained on
the rows of rows.json and whether `catboost_min` puts them above 0; `predict` and the Shapley `predict_contributions`.

Every model is small, trained on one thread from one seed. The rows hold f32 values exactly: training rows, rows with
absent values, and rows whose values lie on a model's thresholds and on the f32 neighbours of those.
"""

import json
import pathlib
import re
import sys

import numpy
import xgboost

HERE = pathlib.Path(__file__).parent
COLUMNS = 6
ROUNDS = 20


def data(rng, count):
    x = rng.normal(size=(count, COLUMNS))
    x[:, 1] = numpy.round(x[:, 1] * 2) / 2  # few values, many of them zero
    x[:, 2] = numpy.exp(3 * x[:, 2])  # several magnitudes
    x[:, 3] = rng.integers(0, 5, count)
    x[rng.random((count, COLUMNS)) < 0.1] = 0.0
    x[:, :5][rng.random((count, 5)) < 0.15] = numpy.nan  # the last column is never absent in training
    x = x.astype(numpy.float32)
    filled = numpy.nan_to_num(x.astype(float), nan=0.7)
    margin = filled[:, 0] - 1.5 * (filled[:, 1] < 0) + 0.3 * numpy.log1p(filled[:, 2]) * (filled[:, 3] > 2)
    margin += numpy.isnan(x[:, 4]) - 0.5 * filled[:, 5] + rng.normal(scale=0.3, size=count)
    return x, margin


def train(x, margin):
    import catboost
    import lightgbm

    label = (margin > 0.3).astype(int)
    models = {}
    # name: (parameters, target)
    for name, (parameters, target) in {
        "xgboost_logistic": ({"objective": "binary:logistic", "max_depth": 6, "eta": 0.1}, label),
        "xgboost_squared": ({"objective": "reg:squarederror", "max_depth": 3, "eta": 0.3}, margin),
        "xgboost_lossguide": (
            {
                "objective": "binary:logistic",
                "grow_policy": "lossguide",
                "max_leaves": 24,
                "max_depth": 0,
                "eta": 0.1,
                "gamma": 0.5,
                "base_score": 0.3,
                "num_parallel_tree": 2,
                "subsample": 0.8,
                "tree_method": "approx",
            },
            label,
        ),
    }.items():
        names = [f"c{i}" for i in range(COLUMNS)] if name == "xgboost_logistic" else None
        matrix = xgboost.DMatrix(x, target, feature_names=names)
        model = xgboost.train({"seed": 1, "nthread": 1, **parameters}, matrix, ROUNDS)
        model.save_model(HERE / f"{name}.json")
        thresholds = [(int(c), v) for c, v in xgboost_thresholds(HERE / f"{name}.json")]
        models[name] = (lambda rows, m=model, n=names: m.predict(xgboost.DMatrix(rows, feature_names=n), output_margin=True),
                        lambda rows, m=model, n=names: m.predict(xgboost.DMatrix(rows, feature_names=n)), thresholds,
                        lambda rows, m=model, n=names: m.predict(xgboost.DMatrix(rows, feature_names=n), pred_contribs=True))
    for name, (parameters, target) in {
        "lightgbm_nan": ({"objective": "binary", "num_leaves": 31}, label),
        "lightgbm_zero": ({"objective": "binary", "num_leaves": 15, "zero_as_missing": True, "sigmoid": 1.0}, label),
        "lightgbm_none": ({"objective": "regression", "max_depth": 3, "use_missing": False}, margin),
    }.items():
        matrix = lightgbm.Dataset(x, target)
        fixed = {"seed": 1, "num_threads": 1, "deterministic": True, "verbose": -1, "min_data_in_leaf": 5}
        model = lightgbm.train({**fixed, **parameters}, matrix, ROUNDS)
        model.save_model(HERE / f"{name}.txt")
        models[name] = (lambda rows, m=model: m.predict(rows, raw_score=True), lambda rows, m=model: m.predict(rows),
                        lightgbm_thresholds((HERE / f"{name}.txt").read_text()), lambda rows, m=model: m.predict(rows, pred_contrib=True))
    for name, (parameters, target) in {
        "catboost_min": ({"loss_function": "Logloss", "depth": 6, "nan_mode": "Min"}, label),
        "catboost_max": ({"loss_function": "Logloss", "depth": 3, "nan_mode": "Max", "learning_rate": 0.3}, label),
        "catboost_rmse": ({"loss_function": "RMSE", "depth": 4, "border_count": 16}, margin),
    }.items():
        fixed = {"iterations": ROUNDS, "random_seed": 1, "thread_count": 1, "verbose": False, "allow_writing_files": False}
        model = catboost.CatBoost({**fixed, **parameters})
        model.fit(catboost.Pool(x, target))
        model.save_model(str(HERE / f"{name}.json"), format="json")
        document = json.loads((HERE / f"{name}.json").read_text())
        document["model_info"] = {"params": {"loss_function": document["model_info"]["params"]["loss_function"]}}
        (HERE / f"{name}.json").write_text(json.dumps(document, indent=1).replace("\n   ", "\n").replace(",\n  ", ",") + "\n")
        kind = "Probability" if parameters["loss_function"] == "Logloss" else "RawFormulaVal"
        models[name] = (lambda rows, m=model: m.predict(rows, prediction_type="RawFormulaVal"),
                        lambda rows, m=model, k=kind: numpy.array(m.predict(rows, prediction_type=k)).reshape(len(rows), -1)[:, -1],
                        catboost_thresholds(HERE / f"{name}.json"), None)
    return models


def xgboost_thresholds(path):
    for tree in json.loads(path.read_text())["learner"]["gradient_booster"]["model"]["trees"]:
        for left, column, value in zip(tree["left_children"], tree["split_indices"], tree["split_conditions"]):
            if left >= 0:
                yield column, value


def lightgbm_thresholds(text):
    columns = re.findall(r"^split_feature=(.*)$", text, re.M)
    values = re.findall(r"^threshold=(.*)$", text, re.M)
    pairs = [(c.split(), v.split()) for c, v in zip(columns, values)]
    return [(int(c), float(v)) for cs, vs in pairs for c, v in zip(cs, vs)]


def catboost_thresholds(path):
    trees = json.loads(path.read_text())["oblivious_trees"]
    return [(s["float_feature_index"], s["border"]) for t in trees for s in t["splits"]]


def edges(rng, base, models):
    """Rows whose values lie on thresholds or on the f32 values next to them."""
    rows = []
    for name in sorted(models):
        thresholds = models[name][2]
        for _ in range(12):
            row = base[rng.integers(len(base))].copy()
            for column, value in (thresholds[i] for i in rng.integers(len(thresholds), size=10)):
                with numpy.errstate(over="ignore"):
                    near = numpy.float32(value)
                    side = rng.integers(3)
                    row[column] = (near, numpy.nextafter(near, numpy.float32(-numpy.inf)), numpy.nextafter(near, numpy.float32(numpy.inf)))[side]
            if not numpy.isinf(row).any():
                rows.append(row)
    return numpy.array(rows, dtype=numpy.float32)


def plain(values):
    return [None if numpy.isnan(v) else float(v) for v in values]


def second(x, margin):
    assert xgboost.__version__.startswith("2.")
    rows = numpy.array(json.loads((HERE / "rows.json").read_text())["rows"], dtype=numpy.float32)
    matrix = xgboost.DMatrix(x, (margin > 0.3).astype(int))
    parameters = {"objective": "binary:logistic", "max_depth": 4, "eta": 0.2, "seed": 1, "nthread": 1}
    model = xgboost.train(parameters, matrix, ROUNDS)
    model.save_model(HERE / "xgboost_2.json")
    rows = xgboost.DMatrix(rows)
    predictions = {"margin": plain(model.predict(rows, output_margin=True)), "prediction": plain(model.predict(rows))}
    (HERE / "xgboost_2_predictions.json").write_text(json.dumps(predictions) + "\n")


def main():
    rng = numpy.random.default_rng(20240601)
    x, margin = data(rng, 600)
    if sys.argv[1:] == ["2"]:
        return second(x, margin)
    models = train(x, margin)
    rows = numpy.concatenate([x[:40], edges(rng, x, models)])
    special = numpy.zeros((4, COLUMNS), dtype=numpy.float32)
    special[1] = -0.0
    special[2, :5] = numpy.nan
    special[3] = 1e-35
    rows = numpy.concatenate([rows, special])

    predictions = {
        name: {"margin": plain(margin_of(rows)), "prediction": plain(prediction_of(rows))}
        for name, (margin_of, prediction_of, *_) in models.items()
    }
    # The packages' own exact Shapley values, the expected value last; CatBoost's differ by definition, so none of them.
    few = rows[:20]
    for name, (_, _, _, contributions_of) in models.items():
        if contributions_of:
            predictions[name]["contributions"] = [plain(row) for row in contributions_of(few)]
    lines = ",\n".join(json.dumps(plain(row)) for row in rows)
    (HERE / "rows.json").write_text(f'{{"rows":[\n{lines}\n],\n"predictions":{json.dumps(predictions)}}}\n')


if __name__ == "__main__":
    main()
