"""Schedules as functions of one step number, in plain Python. Steps are counted from 1."""

from __future__ import annotations

import math


def constant(t, rate):
    return rate


def step(t, rate, every, factor):
    for done in range(1, t):
        if done % every == 0:
            rate *= factor
    return rate


def exponential(t, rate, every, factor):
    return rate * math.exp(math.log(factor) * (t - 1) / every)


def polynomial(t, rate, steps, final, power):
    if t > steps:
        return final
    return (rate - final) * (1 - (t - 1) / steps) ** power + final


def inverse_scaling(t, rate, power):
    return rate * math.exp(-power * math.log(t))


def cosine(t, rate, steps, final):
    done = min(t - 1, steps)
    return final + 0.5 * (rate - final) * (1 + math.cos(math.pi * done / steps))


def flat_cosine(t, rate, steps, flat, final):
    done = min(t - 1, steps) / steps
    if done <= flat:
        return rate
    return final + 0.5 * (rate - final) * (1 + math.cos(math.pi * (done - flat) / (1 - flat)))


def cos_log(t, rate, steps, cycles):
    done = min(t - 1, steps) / steps
    return rate * math.sin(math.pi * math.log2(1 + (2**cycles - 1) * done)) ** 2


def warm_restarts(t, rate, period, factor, final):
    done = t - 1
    length = float(period)
    while done >= length:
        done -= length
        length *= factor
    return final + 0.5 * (rate - final) * (1 + math.cos(math.pi * done / length))


def one_cycle(t, rate, steps, warm, start, end):
    low, lowest = rate / start, rate / start / end
    top, last, done = warm * steps - 1, steps - 1, t - 1
    if done < top:
        return rate + (low - rate) / 2 * (1 + math.cos(math.pi * done / top))
    share = min((done - top) / (last - top), 1)
    return lowest + (rate - lowest) / 2 * (1 + math.cos(math.pi * share))


def cyclic(t, rate, peak, up, down, factor):
    done, height = t - 1, peak - rate
    while done >= up + down:
        done -= up + down
        height *= factor
    share = done / up if done <= up else 1 - (done - up) / down
    return rate + height * share


def warmup(t, lead, then, start=0.0):
    """`then` is a function of the step."""
    if t <= lead:
        return then(1) * (start + (1 - start) * t / lead)
    return then(t - lead)


def sequential(t, schedules, lengths):
    for schedule, length in zip(schedules, lengths, strict=False):
        if t <= length:
            return schedule(t)
        t -= length
    return schedules[-1](t)


def plateau(values, *, factor, patience, min_change, cooldown, least):
    """The scale after each of the epochs that reported `values`."""
    scales, scale, best, waited, resting = [], 1.0, math.inf, 0, 0
    for value in values:
        if value < best - min_change:
            best, waited = value, 0
        else:
            waited += 1
        if resting:
            resting -= 1
            waited = 0
        if waited > patience:
            scale = max(scale * factor, least)
            waited, resting = 0, cooldown
        scales.append(scale)
    return scales
