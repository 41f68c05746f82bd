"""Keeps rival.py busy for some seconds and prints what a pair costs it.

    load.py PHOTOS SECONDS MODELS

PHOTOS is a folder of JPEGs, MODELS the folder of the default pack."""

import base64
import http.client
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import psutil

PORT = 8797
IN_FLIGHT = 4


def post(body):
    connection = http.client.HTTPConnection("127.0.0.1", PORT)
    connection.request("POST", "/compare", body, {"Content-Type": "application/json"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def wait_for(body):
    for _ in range(100):
        try:
            return post(body)
        except OSError:
            time.sleep(0.2)
    raise SystemExit("rival.py did not start")


def processor_time(process):
    return sum(sum(one.cpu_times()[:2]) for one in [process, *process.children(recursive=True)])


def measure(bodies, seconds, process):
    for body in bodies[:4]:
        post(body)
    compared, without, lock = 0, 0, threading.Lock()
    begun, before = time.time(), processor_time(process)

    def client(number):
        nonlocal compared, without
        while time.time() - begun < seconds:
            answer = post(bodies[number % len(bodies)])
            number += IN_FLIGHT
            with lock:
                compared += "similarity" in answer
                without += "similarity" not in answer

    clients = [threading.Thread(target=client, args=(number,)) for number in range(IN_FLIGHT)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    took, used = time.time() - begun, processor_time(process) - before
    print(
        f"{compared / took:.1f} pairs a second, {compared / used:.1f} pairs per processor second, "
        f"{1000 * used / compared:.1f} ms of processor time a pair, {without} without a face"
    )


def main():
    photos, seconds, models = sys.argv[1], float(sys.argv[2]), sys.argv[3]
    files = [base64.b64encode(p.read_bytes()).decode() for p in sorted(pathlib.Path(photos).glob("*.jpg"))]
    bodies = [
        json.dumps({"face1": {"content": one}, "face2": {"content": other}})
        for one, other in zip(files, files[1:] + files[:1])
    ]
    command = ["-m", "uvicorn", "rival:app", "--port", str(PORT), "--workers", "2", "--log-level", "error"]
    server = subprocess.Popen(
        [sys.executable, *command],
        cwd=pathlib.Path(__file__).parent,
        env=dict(os.environ, MODELS=os.path.abspath(models), OMP_NUM_THREADS="1"),
    )
    try:
        wait_for(bodies[0])
        measure(bodies, seconds, psutil.Process(server.pid))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
