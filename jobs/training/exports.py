"""XGBoost boosters whose every sum is exact, and the same trees as ONNX."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.errors import TidemillError
from jobs.release.bits import dense, sparse

GRAIN = 2.0**-18
"""What leaves are multiples of: in single precision, sums of them up to 64 have no rounding, in any order."""
_TRIED = 2_000


def settled(booster: Any) -> Any:
    """The booster with its base moved into the first tree's leaves and every leaf rounded to the grain.

    XGBoost and ONNX Runtime add up leaves in single precision and in different orders. On the grain both
    give the same bits; a margin moves by less than a thousandth.
    """
    import xgboost

    document = json.loads(bytes(booster.save_raw("json")))
    shared = document["learner"]["learner_model_param"]
    classes = int(shared["num_class"])
    base = 0.5 if classes else float(shared["base_score"].strip("[]"))  # the same of every class says nothing
    linked = document["learner"]["objective"]["name"].startswith(("binary:", "multi:"))
    offset = math.log(base / (1 - base)) if linked else base
    for number, tree in enumerate(document["learner"]["gradient_booster"]["model"]["trees"]):
        values = tree["split_conditions"]
        for node, child in enumerate(tree["left_children"]):
            if child == -1:  # a leaf, whose value is kept where a split keeps its threshold
                values[node] = round((values[node] + (0 if number else offset)) / GRAIN) * GRAIN
    shared["base_score"] = "[" + ",".join(["0E0"] * classes or ["5E-1" if linked else "0E0"]) + "]"
    return xgboost.Booster(model_file=bytearray(json.dumps(document).encode()))


def _targets(booster: Any) -> list[int]:
    """Which margin each tree adds to."""
    document = json.loads(bytes(booster.save_raw("json")))
    found: list[int] = document["learner"]["gradient_booster"]["model"]["tree_info"]
    return found


def onnx_of(booster: Any, vectors: NDArray[np.float64], flags: int = 0) -> bytes:
    """The settled booster's raw log-odds as an ONNX model, from `vectors` to `margins`.

    Raises TidemillError when it does not answer with XGBoost's own bits on the given vectors.
    """
    import onnxruntime
    from onnx import TensorProto, helper
    from onnxmltools.convert import convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType

    width = booster.num_features()
    kinds = [("vectors", FloatTensorType([None, width]))]
    with np.errstate(divide="ignore"):  # of a base that is 0, and is not used
        converted = convert_xgboost(booster, initial_types=kinds, target_opset=15)
    (node,) = converted.graph.node
    attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    trees = {name: value for name, value in attributes.items() if name.startswith("nodes_")}
    kind = "class" if "class_ids" in attributes else "target"  # what the converter takes the objective for
    leaves = {f"target_{name}": attributes[f"{kind}_{name}"] for name in ("nodeids", "treeids", "weights")}
    # The converter takes trees for the classes' in turn, which they are only with one tree a class and round.
    target_of = _targets(booster)
    leaves["target_ids"] = [target_of[tree] for tree in leaves["target_treeids"]]
    targets = max(target_of) + 1
    regressor = helper.make_node(
        "TreeEnsembleRegressor", ["vectors"], ["margins"], domain="ai.onnx.ml",
        n_targets=targets, aggregate_function="SUM", post_transform="NONE", **trees, **leaves,
    )  # fmt: skip
    graph = helper.make_graph(
        [regressor],
        "xgboost",
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, [None, width])],
        [helper.make_tensor_value_info("margins", TensorProto.FLOAT, [None, targets])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 1)], ir_version=8)
    exported: bytes = model.SerializeToString(deterministic=True)
    tried = vectors[:_TRIED]
    singles = np.ascontiguousarray(dense(tried, flags, absent=np.nan), dtype=np.float32)
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    margins = session.run(["margins"], {"vectors": singles})[0]
    own = booster.inplace_predict(sparse(tried, flags).astype(np.float32), predict_type="margin")
    differ = int((margins != own.reshape(margins.shape)).any(axis=1).sum())
    if differ:
        raise TidemillError(
            f"the ONNX export answers otherwise than XGBoost in {differ:,} of {len(singles):,} rows; nothing was "
            "published. The installed onnxmltools does not fit the installed xgboost: see requirements/jobs.txt"
        )
    return exported
