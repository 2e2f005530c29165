"""What setup.cfg cannot say: the notebooks lie beside the package, and are installed inside it."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["minibert", "minibert.*"]), "minibert.notebooks"],
      package_dir={"minibert.notebooks": "notebooks"})
