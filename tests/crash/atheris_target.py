"""The fuzzing of recovery under libFuzzer, which sees what each input reaches."""

import atheris

with atheris.instrument_imports(include=["mmapkit.durable"]):
    from mmapkit.durable import frames, journal, recovery  # noqa: F401

from . import fuzzing


def main(seconds):
    """Fuzz for some seconds; the process ends with a status."""
    arguments = ["fuzz", f"-max_total_time={seconds}", "-max_len=256", "-print_final_stats=1"]
    atheris.Setup(arguments, lambda data: fuzzing.try_one(data) and None)
    atheris.Fuzz()
