# `make help` lists the targets.

VENV := .venv
COLCON_VENV := .venv-colcon
COLCON_INSTALLED := $(COLCON_VENV)/installed-$(shell sha256sum < .ci/colcon-requirements.txt | cut -c 1-12)
SITE_PACKAGES := 'import sysconfig; print(sysconfig.get_path("purelib"))'
PYTHON ?= python3
# Any build of torch from 2.4 on serves, and one already in the environment is kept (a CUDA build, say).
TORCH ?= torch==2.13.0

# An environment that is active around make, or a sourced ROS distribution, must not leak into ours. The ROS wheels
# mark a Python whose library path they have set; in another environment's Python that mark would be wrong.
unexport PYTHONPATH AMENT_PREFIX_PATH _ROS_WHEELS_BOOTSTRAP_COMPLETE

.DEFAULT_GOAL := help
.PHONY: help venv colcon-venv test lint docs demo clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

venv: $(VENV)/installed ## make .venv: ROS 2 from PyPI, torch, and this package, editable, with its messages

# $(call step,WHAT,LOG,COMMAND): say in one line what is done; the output goes to the log, which is shown on failure.
step = @echo '$(1)'; { $(3); } >> $(2) 2>&1 || { cat $(2); echo '$(1): failed, see above and $(2)'; exit 1; }
LOG := $(VENV)/install.log
COLCON_LOG := $(COLCON_VENV)/install.log

$(VENV)/bin/python:
	@$(PYTHON) .ci/check_tools.py
	@echo 'Making $(VENV)'
	@$(PYTHON) -m venv $(VENV)

# The folders themselves are prerequisites because a new file in them has to be linked below.
$(VENV)/installed: $(VENV)/bin/python pyproject.toml setup.py build_messages.py entry_points.txt package.xml \
  $(wildcard msg/*.msg srv/*.srv action/*.action resource/* foxglove launch launch/examples config config/*/ urdf)
	@$(PYTHON) .ci/check_tools.py
	@: > $(LOG)
	$(call step,Installing $(TORCH) unless there is a torch,$(LOG), \
	  $(VENV)/bin/python -c 'import torch' || $(VENV)/bin/pip install '$(TORCH)')
	$(call step,Installing fossa_ros with ROS 2 and all tools,$(LOG),$(VENV)/bin/pip install --editable '.[dev]')
	@# Links instead of pip's copies, so that an edited launch or configuration file counts at once.
	@for file in $(wildcard foxglove/*.* launch/*.* launch/examples/*.* config/*.* config/*/*.* urdf/*.*); do ln -sf "$(CURDIR)/$$file" $(VENV)/share/fossa_ros/$$file; done
	@touch $@

# Used by test_colcon.py. torch and the like come from .venv, after its own packages.
colcon-venv: $(COLCON_INSTALLED)

$(COLCON_INSTALLED): | $(VENV)/installed
	@echo 'Making $(COLCON_VENV)'
	@$(PYTHON) -m venv --clear $(COLCON_VENV)
	$(call step,Installing colcon and ROS 2 for the colcon build,$(COLCON_LOG), \
	  $(COLCON_VENV)/bin/pip install -r .ci/colcon-requirements.txt)
	@# The wheels export include folders of the machine they were built on, which CMake refuses.
	@sed -i '/INTERFACE_INCLUDE_DIRECTORIES/s/"[^"]*"/""/' $(COLCON_VENV)/share/*/cmake/*__rosidl_generator_pyExport.cmake
	@# colcon sources this file of every prefix it builds upon; the wheels have none.
	@touch $(COLCON_VENV)/local_setup.sh
	@$(VENV)/bin/python -c $(SITE_PACKAGES) > "$$($(COLCON_VENV)/bin/python -c $(SITE_PACKAGES))/fossa_venv.pth"
	@touch $@

# Groups and their order: tests/conftest.py.
test: venv lint ## lint, then run the tests in three processes; skipped ones say why
	$(VENV)/bin/pytest -n 3 --dist loadgroup --no-loadscope-reorder

lint: venv ## check style, formatting, imports and types: ruff, import-linter and mypy
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/lint-imports --no-logo --no-cache
	$(VENV)/bin/mypy

# The theme announces its successor on every build; see mkdocs.yml.
docs: venv ## build the documentation site into out/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --quiet

demo: venv ## run the simulated rig end to end, results in out/demo
	$(VENV)/bin/fossa demo --out out/demo

clean: ## remove the environments and everything built
	rm -rf $(VENV) $(COLCON_VENV) .test-builds build dist install log out fossa_ros.egg-info fossa_ros/msg fossa_ros/*.so
