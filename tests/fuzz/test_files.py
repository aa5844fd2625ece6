"""Files that people write: a deployment or a configuration is taken whole or refused with an error that names the file."""

import json

from deployments import pool, single, tree

from ftmb import config
from ftmb.errors import UsageError
from ryu_app.deployment import DeploymentError, parse
from tests.ftmb.example import GOOD

from . import generate


def test_a_deployment_is_taken_or_refused_by_name(campaign):
    samples = (single(), pool(), tree())
    for rng in campaign:
        try:
            parse(json.loads(json.dumps(generate.mutated(rng, rng.choice(samples)), default=repr)))
        except DeploymentError as error:
            assert str(error)


def test_a_configuration_is_taken_or_refused_by_name(campaign):
    for number, rng in enumerate(campaign):
        if number >= 200 and number % 20:
            continue                # reading YAML costs a hundred times what the rest does
        lines = GOOD.splitlines(keepends=True)
        at = rng.randrange(len(lines))
        kind = rng.randrange(4)
        if kind == 0:
            lines[at] = generate.damaged(rng, lines[at].encode()).decode("latin-1")
        elif kind == 1:
            del lines[at]
        elif kind == 2:
            key, _, _ = lines[at].partition(":")
            lines[at] = f"{key}: {json.dumps(generate.value(rng), default=repr)}\n"
        else:
            lines.insert(at, generate.noise(rng, 60).decode("latin-1"))
        try:
            config.read("".join(lines), "file.yaml")
        except UsageError as error:
            assert "file.yaml" in str(error)
