"""Which installed package a name in config.yaml means, and that only that one is imported."""

import itertools
import sys
from contextlib import AsyncExitStack

import pytest

from mcpserve import discovery, plugins
from mcpserve.errors import ConfigError, PluginError
from mcpserve.settings import PluginSettings

SOURCE = '''
from mcpserve import hookimpl

def forecast() -> str:
    """Forecast."""
    return "sun"

@hookimpl
def mcpserve_tools():
    return [forecast]
'''
numbers = itertools.count()


class Packages:
    """A folder on the path, into which packages are installed."""

    def __init__(self, folder):
        self.folder = folder

    def install(self, name="weather", source=SOURCE, distribution="sample-weather"):
        """Install a package whose one module is the plugin ``name``; return the module's name."""
        module = f"sample_plugin_{next(numbers)}"
        (self.folder / f"{module}.py").write_text(source)
        info = self.folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[mcpserve]\n{name} = {module}\n")
        return module


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """A folder for packages, in front of everything else."""
    monkeypatch.syspath_prepend(tmp_path)
    return Packages(tmp_path)


async def load(*names, **settings):
    """Load installed plugins."""
    configured = {name: PluginSettings.model_validate(settings) for name in names}
    return await plugins.load(configured, AsyncExitStack())


async def refusal(name="weather"):
    """Return why an installed plugin is refused."""
    with pytest.raises(PluginError) as caught:
        await load(name)
    return str(caught.value)


async def test_an_installed_plugin_is_found_by_its_name(packages):
    packages.install()
    loaded = await load("weather")
    assert [bound.offer.name for bound in loaded.registry.tools] == ["forecast"]
    assert [bound.plugin for bound in loaded.registry.tools] == ["weather"]


async def test_nothing_is_imported_that_is_not_configured(packages):
    listed = packages.install()
    unlisted = packages.install("other", "raise SystemExit('imported')", "sample-other")
    assert {"weather", "other"} <= {plugin.name for plugin in discovery.installed()}
    await load()
    assert not {listed, unlisted} & sys.modules.keys()
    await load("weather")
    assert listed in sys.modules
    assert unlisted not in sys.modules


async def test_a_plugin_that_nobody_installed_is_named():
    assert (await refusal("nope")).startswith(
        "plugins.nope: no installed package provides it; to install one: mcpserve plugin install "
        "NAME (installed plugins: calculator, "
    )


@pytest.mark.parametrize("name", ["calculater", "calculator2", "get-weather", "getweather"])
async def test_a_plugin_that_is_mistyped_is_told_with_what_was_meant(name):
    meant = "calculator" if name.startswith("calc") else "get_weather"
    text = f"plugins.{name}: no installed package provides it; did you mean {meant}? (installed"
    assert (await refusal(name)).startswith(text)


async def test_two_packages_that_offer_one_name_are_both_named_and_neither_imported(packages):
    modules = {packages.install(distribution=name) for name in ("sample-one", "sample-two")}
    text = "plugins.weather: sample-one, sample-two provides it; exactly one package must"
    assert (await refusal()).startswith(text)
    assert not modules & sys.modules.keys()


async def test_of_a_package_that_is_on_the_path_twice_the_first_counts(
    packages, tmp_path, monkeypatch
):
    packages.install(source="raise KeyError('the one behind')")
    front = tmp_path / "front"
    front.mkdir()
    monkeypatch.syspath_prepend(front)
    Packages(front).install()
    assert (await load("weather")).names == ("weather",)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise ValueError('no\\n way')", "ValueError: no way"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
    ],
)
async def test_an_import_that_fails_is_told_in_one_line(packages, source, text):
    packages.install(source=source)
    told = await refusal()
    assert told.startswith(f"plugins.weather: import failed: {text}")
    assert "\n" not in told


async def test_a_plugin_that_cannot_be_imported_may_be_skipped(packages):
    packages.install(source="import sys; sys.exit()")
    loaded = await load("weather", "nope", on_error="skip")
    assert list(loaded.skipped) == ["weather", "nope"]
    assert loaded.names == ()


async def test_one_module_under_two_names_is_refused(packages):
    module = packages.install()
    info = packages.folder / "sample_weather-1.0.dist-info"
    (info / "entry_points.txt").write_text(f"[mcpserve]\nweather = {module}\nclimate = {module}\n")
    with pytest.raises(ConfigError, match=r"plugins\.climate: Plugin already registered"):
        await load("weather", "climate")


async def test_an_object_inside_of_a_module_may_be_the_plugin(packages):
    module = packages.install(
        source="import types\nfrom mcpserve import hookimpl\n"
        "class Plugin:\n    @hookimpl\n    def mcpserve_tools(self):\n        return []\n"
        "plugin = Plugin()\n"
    )
    info = packages.folder / "sample_weather-1.0.dist-info"
    (info / "entry_points.txt").write_text(f"[mcpserve]\nweather = {module}:plugin\n")
    assert (await load("weather")).names == ("weather",)
