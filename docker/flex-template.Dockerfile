# The launcher of a Dataflow flex template: the workers' image of docker/Dockerfile, with Google's launcher program and
# an entry point for it. The workers of its jobs run the image that it was made from.
#
#   docker build --file docker/flex-template.Dockerfile --build-arg IMAGE=IMAGE --tag TEMPLATE_IMAGE .
#
# LAUNCHER has to be of the image's Python.
ARG IMAGE
ARG LAUNCHER=gcr.io/dataflow-templates-base/python311-template-launcher-base
# hadolint ignore=DL3006
FROM ${LAUNCHER} AS launcher

# hadolint ignore=DL3006
FROM ${IMAGE}
ARG IMAGE
COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
COPY docker/flex_template.py /opt/vggish/flex_template.py
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/opt/vggish/flex_template.py \
    VGGISH_WORKERS_IMAGE=${IMAGE}
ENTRYPOINT ["/opt/google/dataflow/python_template_launcher"]
