"""Writes the weights folder of TotalSegmentator's fast total task with a network of our own: bright is sacrum.

    python tiny_network.py FOLDER        in a Python that has TotalSegmentator

Every weight is zero except a path that carries the intensity of a voxel to the head, whose bias makes it a
threshold: the real nnU-Net runs, and its answer is known.
"""

import json
import sys
from pathlib import Path
from pydoc import locate

SACRUM = 25
LAYERS = {
    "n_stages": 3,
    "features_per_stage": [4, 8, 8],
    "conv_op": "torch.nn.modules.conv.Conv3d",
    "kernel_sizes": [[3, 3, 3]] * 3,
    "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
    "n_conv_per_stage": [1, 1, 1],
    "n_conv_per_stage_decoder": [1, 1],
    "conv_bias": True,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True},
    "dropout_op": None,
    "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU",
    "nonlin_kwargs": {"inplace": True},
}
BY_NAME = ("conv_op", "norm_op", "dropout_op", "nonlin")


def plans(name):
    """nnU-Net's plan for 3 mm CT."""
    resample = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    how = "resample_data_or_seg_to_shape"
    intensities = {"max": 3000.0, "mean": 100.0, "median": 50.0, "min": -1000.0, "std": 300.0}
    intensities |= {"percentile_00_5": -1000.0, "percentile_99_5": 1000.0}
    configuration = {
        "data_identifier": "nnUNetPlans_3d_fullres",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [64, 64, 64],
        "median_image_size_in_voxels": [100.0] * 3,
        "spacing": [3.0] * 3,
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": how,
        "resampling_fn_seg": how,
        "resampling_fn_probabilities": how,
        "resampling_fn_data_kwargs": resample,
        "resampling_fn_seg_kwargs": {**resample, "is_seg": True},
        "resampling_fn_probabilities_kwargs": resample,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": LAYERS,
            "_kw_requires_import": list(BY_NAME),
        },
        "batch_dice": False,
    }
    return {
        "dataset_name": name,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [3.0] * 3,
        "original_median_shape_after_transp": [100] * 3,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": intensities},
        "configurations": {"3d_fullres": configuration},
    }


def network(classes):
    """The weights: one channel carries the intensity, the head compares it with a threshold."""
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet

    layers = {key: locate(value) if key in BY_NAME and value else value for key, value in LAYERS.items()}
    net = PlainConvUNet(input_channels=1, num_classes=classes, deep_supervision=False, **layers)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        for name, module in net.named_modules():
            if isinstance(module, torch.nn.InstanceNorm3d):
                module.weight.fill_(1.0)
            if isinstance(module, torch.nn.Conv3d) and module.kernel_size == (3, 3, 3):
                module.weight[0, module.in_channels // 2 if "decoder" in name else 0, 1, 1, 1] = 1.0
        head = net.decoder.seg_layers[-1]
        head.weight[SACRUM, 0] = 1.0
        head.bias.fill_(-20.0)
        head.bias[0], head.bias[SACRUM] = 0.0, -0.8
    return net.state_dict()


def main(weights):
    """Write plans, dataset and checkpoint where TotalSegmentator looks for its fast total task."""
    import torch
    from totalsegmentator.map_tasks_config import TASK_ID_WEIGHTS_CONFIGS
    from totalsegmentator.map_to_binary import class_map

    name = TASK_ID_WEIGHTS_CONFIGS[297]["foldername"]
    folder = weights / name / "nnUNetTrainer_4000epochs_NoMirroring__nnUNetPlans__3d_fullres"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps(plans(name)))
    labels = {"background": 0, **{label: value for value, label in class_map["total"].items()}}
    dataset = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(dataset))
    checkpoint = {
        "network_weights": network(len(labels)),
        "trainer_name": "nnUNetTrainer",
        "init_args": {"configuration": "3d_fullres", "fold": 0},
        "inference_allowed_mirroring_axes": None,
    }
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
