#!/usr/bin/env bash
# Test and measure everything that needs a GPU, in at most 40 minutes: scripts/on_gpu.sh [FOLDER]
#
# The output of each step is FOLDER/STEP.log (default folder: .benchmark/gpu), and FOLDER/summary.txt says which steps
# succeeded. A step that fails or takes too long does not stop the others.
#
# Environment variables:
#   PYTHON   interpreter with rl_lab and a CUDA build of torch (default: .venv/bin/python)
#   WHEELS   folder of wheels, for a machine without a network: they are installed into .venv-gpu. On a machine with a
#            network and the same Python and processor, this fetches them:
#            pip download --dest wheels hatchling editables torch '.[dev]' -c constraints.txt
#   STEPS    steps to run (default: doctor tests benchmark environments race)
#   DEVICE   cuda, or cpu to try the script
#   ENVS     numbers of environments of the step environments (default: 128 256 512 1024)
set -u
root=$(realpath "$(dirname "$0")/..")
export python device folder
folder=$(realpath -m "${1:-$root/.benchmark/gpu}")
python=${PYTHON:-$root/.venv/bin/python}
device=${DEVICE:-cuda}
if [ -n "${WHEELS:-}" ]; then
    WHEELS=$(realpath "$WHEELS")
fi
cd "$root" || exit 1
mkdir -p "$folder"
: > "$folder/summary.txt"

if [ -n "${WHEELS:-}" ]; then
    python3 -m venv .venv-gpu || exit 1
    python=.venv-gpu/bin/python
    "$python" -m pip install --quiet --no-index --find-links "$WHEELS" torch -e '.[dev]' -c constraints.txt || exit 1
fi

# Run the function of a step, for at most so many seconds, with its output in a log.
step() {
    local name=$1 seconds=$2
    echo "$name ..."
    local start=$SECONDS
    timeout "$seconds" bash -c "set -e; $(declare -f "$name"); $name" > "$folder/$name.log" 2>&1
    local status=$?
    echo "$name: exit code $status, $((SECONDS - start)) s" | tee -a "$folder/summary.txt"
}

doctor() {
    nvidia-smi || true
    git describe --always --dirty --exclude '*'
    "$python" -m rl_lab doctor
}

tests() {
    "$python" -m pytest -m gpu
}

# Equal work beside Stable-Baselines3 and the single file, with CUDA graphs and without, and the memory of each.
benchmark() {
    "$python" scripts/benchmark.py --here --device "$device" --parts dqn policy-gradient --rounds 3 --steps 4000 \
        --warm-up 4000
}

# PPO with many environments: agent steps, seconds and bytes.
environments() {
    for n in ${ENVS:-128 256 512 1024}; do
        for variant in "" graphs; do
            echo "$n environments ${variant:-without graphs}"
            echo $((128 * n)) | "$python" scripts/contenders/lab.py $((128 * n)) "$device" ppo "$n" bfloat16 $variant ||
                echo "failed"
        done
    done
}

# Minutes to 18 points of Pong. Our agents choose the device by themselves.
race() {
    "$python" scripts/race.py Pong --agents ppo,dqn,sb3_ppo,sb3_dqn --seeds 1 --minutes 3 --results "$folder"
    "$python" scripts/race.py table Pong --results "$folder"
}

for name in ${STEPS:-doctor tests benchmark environments race}; do
    case $name in
        doctor) step doctor 60 ;;
        tests) step tests 300 ;;
        benchmark) step benchmark 720 ;;
        environments) step environments 300 ;;
        race) step race 960 ;;
        *)
            echo "on_gpu.sh: unknown step $name; it must be doctor, tests, benchmark, environments or race" >&2
            exit 2
            ;;
    esac
done
cat "$folder/summary.txt"
if grep -q -v "exit code 0," "$folder/summary.txt"; then
    exit 1
fi
