"""Builds mixing stages from options on one level, for tests' tables."""

import dataclasses

import tensorflow as tf

from tf_mixup import mixing

GROUPS = {
    "partner": mixing.Partners,
    "num_classes": mixing.Labels,
    "inputs": mixing.Inputs,
}


def make_stage(
    alpha=0.4,
    *,
    stage=mixing.MixUp,
    places=0,
    num_parallel_calls=tf.data.AUTOTUNE,
    epoch_counter=None,
    **options,
):
    """Returns a stage; options of its groups may stand beside the others.

    Args:
        alpha: As for `MixUp`.
        stage: Class of the stage.
        places: Places in a model; 0 mixes on the host.
        num_parallel_calls: As the attribute.
        epoch_counter: As the attribute; a new one by default.
        options: As for `MixUp`, and those of its groups by their names.
    """
    for name, group in GROUPS.items():
        first, *rest = (each.name for each in dataclasses.fields(group))
        given = {key: options.pop(key) for key in rest if key in options}
        if given:
            if name in options:
                given[first] = options.pop(name)
            options[name] = group(**given)
    made = stage(alpha, **options)
    made.num_parallel_calls = num_parallel_calls
    if epoch_counter is not None:
        made.epoch_counter = epoch_counter
    return made.send_plans(places) if places else made


def training_model(model, at=None, **options):
    """Returns the model that a stage with these options trains."""
    return make_stage(**options).training_model(model, at)
