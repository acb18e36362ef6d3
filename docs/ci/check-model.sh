#!/bin/sh
# Optimize a model in a CI job and hold it against the last release.
#
#   check-model.sh MODEL RECIPE OUT [BASELINE [FLAG...]]
#
# OUT gets model.onnx, report.json (the next BASELINE), junit.xml and summary.txt. BASELINE is the report.json of the
# last release; while there is none, only the gates of the recipe count. FLAGs go to `optimize`.
# CHECK_LATENCY=1 also compares measured latency: only where jobs always run on machines of one kind.
# The exit code is that of `optimize`; what fails still leaves junit.xml and summary.txt.
set -eu

if [ $# -lt 3 ]; then
    echo "usage: $0 MODEL RECIPE OUT [BASELINE [FLAG...]]" >&2
    exit 2
fi
model=$1 recipe=$2 out=$3 baseline=${4:-}
shift "$(($# < 4 ? $# : 4))"

if [ -n "$baseline" ] && [ -f "$baseline" ]; then
    set -- "$@" --baseline "$baseline" \
        --gate 'size_bytes<=1.05*baseline' --gate 'sqnr_db>=baseline-1' --gate 'top1_drop<=baseline+0.005'
    if [ "${CHECK_LATENCY:-0}" = 1 ]; then
        set -- "$@" --gate 'latency_ms[local]<=1.05*baseline'
    fi
fi

mkdir -p "$out"
rm -f "$out/report.json" # a run that fails would leave the last one there
status=0
optimize "$model" --config "$recipe" --output "$out/model.onnx" --overwrite \
    --report-json "$out/report.json" --report-junit "$out/junit.xml" "$@" >"$out/summary.txt" 2>&1 || status=$?
cat "$out/summary.txt"

case $status in
0) echo "check-model: $model is ready to ship" ;;
1) echo "check-model: $out/model.onnx was written, but is not good enough" ;;
2) echo "check-model: the model, the recipe, the data or the baseline is wrong" ;;
3) echo "check-model: a pass failed" ;;
*) echo "check-model: interrupted or killed ($status)" ;;
esac
exit "$status"
