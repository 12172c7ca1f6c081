# SPDX-License-Identifier: BSD-3-Clause
"""Plots the memory of a host and the balloons of its virtual machines over time, as SVG.

    balloon_plot.py SOCKET...       watches running machines until they end, or until Ctrl-C
    balloon_plot.py RECORD.json     what tests/test_balloon.py recorded

Everything comes from what the machines say of themselves on their control sockets.  The plot goes
to standard output.
"""
import argparse
import json
import socket
import sys
import time

MIB = 1 << 20
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 340, 56, 30, 16, 40
COLOURS = ('#c0392b', '#2471a3', '#7d3c98', '#b9770e')
STYLE = ('text{font:12px sans-serif;fill:#333}path,line{fill:none}.grid{stroke:#ddd}'
         '.host{stroke:#111;stroke-width:2}.margin{stroke:#111;stroke-dasharray:4 3}'
         '.target{stroke-width:1;stroke-dasharray:2 2}.actual{stroke-width:1.8}')


def status(client):
    """One reply to status."""
    client.sendall(b'status\n')
    reply = b''
    while not reply.endswith(b'\n'):
        piece = client.recv(1 << 16)
        if not piece:
            raise ConnectionError
        reply += piece
    return json.loads(reply)


def row_of(replies, seconds):
    """What the replies of all machines come to."""
    row = {'s': seconds, 'vms': []}
    for reply in replies:
        balloon = reply['balloon']
        actual = [device['reports']['actual_bytes'] for device in reply['devices']
                  if device['type'] == 'balloon' and 'reports' in device]
        if not actual:
            return None  # it did not answer in time
        row['available'] = balloon.get('host_available_bytes', 0)
        row['margin'] = balloon.get('host_margin_bytes', 0)
        row['vms'].append({'target': balloon['target_bytes'], 'actual': sum(actual)})
    return row


def watch(paths, interval_s):
    """Samples until a machine ends or the user does."""
    clients, record, started = [], [], time.monotonic()
    try:
        for path in paths:
            clients.append(socket.socket(socket.AF_UNIX))
            clients[-1].connect(path)
        while True:
            row = row_of([status(client) for client in clients],
                         round(time.monotonic() - started, 2))
            record += [row] if row else []
            time.sleep(interval_s)
    except (ConnectionError, KeyboardInterrupt):
        return record


def series(record):
    """[(class, colour, [MiB])]"""
    yield 'host', '', [row['available'] / MIB for row in record]
    yield 'margin', '', [row['margin'] / MIB for row in record]
    for i in range(len(record[0]['vms'])):
        colour = COLOURS[i % len(COLOURS)]
        yield 'target', colour, [row['vms'][i]['target'] / MIB for row in record]
        yield 'actual', colour, [row['vms'][i]['actual'] / MIB for row in record]


def step_of(most):
    """Between two lines of the grid: about six in all, at 1, 2 or 5 times a power of ten."""
    step = 1
    while most / step > 6:
        step *= 2.5 if str(step)[0] == '2' else 2
    return int(step)


def plot(record):
    """The SVG."""
    first, last = record[0]['s'], record[-1]['s']
    lines = list(series(record))
    most = max(max(values) for _, _, values in lines) * 1.05 or 1
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(s):
        return round(LEFT + (s - first) / ((last - first) or 1) * wide, 1)

    def y(mib):
        return round(TOP + high - mib / most * high, 1)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
           f'<style>{STYLE}</style>', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for mib in range(0, int(most) + 1, step_of(most)):
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(mib)}" '
                   f'y2="{y(mib)}"/><text x="{LEFT - 6}" y="{y(mib) + 4}" '
                   f'text-anchor="end">{mib}</text>')
    for s in range(0, int(last - first) + 1, step_of(last - first)):
        out.append(f'<text x="{x(first + s)}" y="{HEIGHT - 20}" text-anchor="middle">{s}</text>')
    out.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 5}" text-anchor="middle">seconds</text>'
               f'<text x="6" y="16">MiB</text>')
    for name, colour, values in lines:
        points = [f'{x(row["s"])},{y(value)}' for row, value in zip(record, values)]
        # A point between two of the same height is not needed.
        kept = [p for i, p in enumerate(points) if i in (0, len(points) - 1) or
                not values[i - 1] == values[i] == values[i + 1]]
        out.append(f'<path class="{name}"{f" stroke={chr(34)}{colour}{chr(34)}" * bool(colour)} '
                   f'd="M{" ".join(kept)}"/>')
    legend = [('#111', 'available on host (dashed: margin)')] + [
        (COLOURS[i % len(COLOURS)], f'balloon {i + 1} (dotted: target)')
        for i in range(len(record[0]['vms']))]
    for i, (colour, text) in enumerate(legend):
        out.append(f'<line x1="{LEFT + i * 250}" x2="{LEFT + 20 + i * 250}" y1="14" y2="14" '
                   f'stroke="{colour}" stroke-width="3"/>'
                   f'<text x="{LEFT + 26 + i * 250}" y="18">{text}</text>')
    return '\n'.join(out + ['</svg>\n'])


def main():
    """Prints the plot; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0])
    parser.add_argument('source', nargs='+', metavar='SOCKET|RECORD.json')
    parser.add_argument('--interval', type=float, default=0.5, metavar='SECONDS')
    options = parser.parse_args()
    if options.source[0].endswith('.json'):
        with open(options.source[0], encoding='utf-8') as file:
            record = json.load(file)
    else:
        record = watch(options.source, options.interval)
    if not record:
        print('balloon_plot: nothing was seen', file=sys.stderr)
        return 1
    sys.stdout.write(plot(record))
    return 0


if __name__ == '__main__':
    sys.exit(main())
