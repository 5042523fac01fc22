# Training and labelling in a container:
#
#     docker build -t mmrca .
#     docker run --rm --shm-size 4g -v $PWD/data:/mmrca/data \
#         -v $PWD/work_dirs:/mmrca/work_dirs mmrca tools/train.py CONFIG
#     docker run ... mmrca tools/make_pseudo_labels.py CONFIG CHECKPOINT --out-dir DIR
#
# For GPUs add --build-arg TORCH_INDEX=https://pypi.org/simple to the first, whose
# torch is the CUDA build, and --gpus all to the others.
FROM python:3.11-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
WORKDIR /mmrca
COPY requirements requirements
# Headless: OpenCV's usual build needs libGL.
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" \
        -r requirements/pinned.txt \
    && pip uninstall --yes opencv-python \
    && pip install --no-cache-dir --no-deps -r requirements/headless.txt
COPY . .
RUN pip install --no-cache-dir --no-deps --no-build-isolation -e . \
    && python tools/train.py --help > /dev/null \
    && python tools/make_pseudo_labels.py --help > /dev/null

ENTRYPOINT ["python"]
CMD ["tools/train.py", "--help"]
