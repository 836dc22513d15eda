#!/bin/sh
# /init of the guest of kvm_block: runs fio on the only disk, job by job, and says on the serial port when each begins and
# ends, and at last how far each came. Called by fio, it is the voice.
export PATH=/bin
if [ $# -gt 0 ]; then
    echo "<1>row $*" >/dev/kmsg
    # What is counted must not begin before the listener has heard it, nor go on.
    exec sleep 0.2
fi
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/shm /tmp
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
cd /tmp
echo none >/sys/block/vda/queue/scheduler

set -- --filename=/dev/vda --ioengine=io_uring --direct=1 --randrepeat=1 --norandommap --thread --gtod_reduce=1 \
    --time_based --runtime=1 --output-format=terse --terse-version=3
job() {
    name=$1-$3
    jobs="$jobs --name=$name --stonewall --rw=$1 --bs=$2 --iodepth=$3 --exec_prerun=/init\\ begin\\ $name --exec_postrun=/init\\ end\\ $name"
}
for depth in 1 32; do
    for pattern in randread randwrite; do job $pattern 4k $depth; done
    for pattern in read write; do job $pattern 1m $depth; done
done
# In the terse format, KiB and milliseconds of reads are in fields 6 and 9, those of writes in fields 47 and 50.
eval "fio \"\$@\" $jobs" | awk -F';' 'NF > 50 { print "<1>row result " $3, $6 + $47, $9 + $50 >"/dev/kmsg"; fflush() }'
poweroff -f
