"""Wheels of plain Python, made without a build."""

import zipfile

PLUGIN = '''
from mcpserve import hookimpl
{imports}

def {tool}(name: str) -> str:
    """Greet somebody."""
    return f"Hei {{name}}, {returned}"

@hookimpl
def mcpserve_tools():
    return [{tool}]
'''


def plugin(tool, returned="", imports=""):
    """Return the source of a plugin with one tool."""
    return PLUGIN.format(tool=tool, returned=returned, imports=imports)


def write(
    folder, name, version, *, requires=(), plugins=(), source="", tag="py3-none-any", more=None
):
    """Write a wheel of one package; ``plugins`` are names of entry points that mean it.

    ``more`` are other files: names to texts.
    """
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    required = "".join(f"Requires-Dist: {each}\n" for each in requires)
    entries = "".join(f"{each} = {module}\n" for each in plugins)
    files = {
        f"{module}/__init__.py": source or f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{required}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
        **({f"{info}/entry_points.txt": f"[mcpserve]\n{entries}"} if entries else {}),
        **(more or {}),
    }
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in (*files, f"{info}/RECORD"))
    path = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return path


def unpack(wheel, folder):
    """Install a wheel as ``pip install --target`` would."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
