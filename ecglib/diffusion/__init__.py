"""The generator: process, state space network, mel loss, conditions, training, sampling. Imports signals only."""

from ecglib.diffusion.checkpoint import read_log
from ecglib.diffusion.clock import beat_times, clock
from ecglib.diffusion.conditions import GROUPS, Conditions
from ecglib.diffusion.mel import MelLoss, mel_filters, spectrogram
from ecglib.diffusion.model import Denoiser, SignalInfo, network_of
from ecglib.diffusion.network import SSSD
from ecglib.diffusion.process import Schedule, posterior_mean, predict_eps, predict_x0, q_sample, target_of
from ecglib.diffusion.rhythm import RhythmModel
from ecglib.diffusion.s4 import S4Layer
from ecglib.diffusion.samplers import SAMPLERS, ddim, ddpm, dpmpp_2m
from ecglib.diffusion.sampling import Generator
from ecglib.diffusion.training import train
from ecglib.diffusion.workers import Workers

__all__ = [
    "GROUPS",
    "SAMPLERS",
    "SSSD",
    "Conditions",
    "Denoiser",
    "Generator",
    "MelLoss",
    "RhythmModel",
    "S4Layer",
    "Schedule",
    "SignalInfo",
    "Workers",
    "beat_times",
    "clock",
    "ddim",
    "ddpm",
    "dpmpp_2m",
    "mel_filters",
    "network_of",
    "posterior_mean",
    "predict_eps",
    "predict_x0",
    "q_sample",
    "read_log",
    "spectrogram",
    "target_of",
    "train",
]
