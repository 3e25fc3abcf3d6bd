-- Generated from schemas/astrosurvey.yaml by `python -m astrosurvey.catalog.generate`; do not edit.
-- astrosurvey 1.7.0
CREATE TABLE "run" (
    "run_id" VARCHAR NOT NULL,
    "title" VARCHAR,
    "pipeline_digest" VARCHAR NOT NULL,
    "seed" BIGINT NOT NULL,
    "astrosurvey_version" VARCHAR NOT NULL,
    "schema_version" VARCHAR NOT NULL,
    "plugins" VARCHAR,
    "n_tile" INTEGER,
    PRIMARY KEY ("run_id")
);
COMMENT ON TABLE "run" IS 'One execution of a pipeline, with what is needed to make its numbers again.';
COMMENT ON COLUMN "run"."run_id" IS 'identifier of the run, derived from its resolved pipeline and inputs';
COMMENT ON COLUMN "run"."title" IS 'title that the pipeline file gives';
COMMENT ON COLUMN "run"."pipeline_digest" IS 'sha256 of the resolved pipeline, in hexadecimal';
COMMENT ON COLUMN "run"."seed" IS 'seed from which every random number of the run comes';
COMMENT ON COLUMN "run"."astrosurvey_version" IS 'version of astrosurvey';
COMMENT ON COLUMN "run"."schema_version" IS 'version of this schema';
COMMENT ON COLUMN "run"."plugins" IS 'plugins in use, as name==version separated by blanks';
COMMENT ON COLUMN "run"."n_tile" IS 'number of tiles in the run';
CREATE TABLE "tile" (
    "tile_id" BIGINT NOT NULL,
    "name" VARCHAR NOT NULL,
    "run_id" VARCHAR,
    "s_ra" DOUBLE,
    "s_dec" DOUBLE,
    "s_fov" DOUBLE,
    "s_region" VARCHAR,
    "em_min" DOUBLE,
    "em_max" DOUBLE,
    "t_exptime" DOUBLE,
    "o_ucd" VARCHAR,
    "nx" INTEGER NOT NULL,
    "ny" INTEGER NOT NULL,
    "x0" INTEGER NOT NULL,
    "y0" INTEGER NOT NULL,
    "pixel_scale" DOUBLE,
    "input_digest" VARCHAR,
    "status" VARCHAR NOT NULL,
    "n_source" BIGINT NOT NULL,
    PRIMARY KEY ("tile_id"),
    FOREIGN KEY ("run_id") REFERENCES "run" ("run_id"),
    CONSTRAINT "check_tile_position" CHECK ((isnan("s_ra") OR "s_ra" >= 0) AND (isnan("s_ra") OR "s_ra" < 360) AND (isnan("s_dec") OR "s_dec" >= -90) AND (isnan("s_dec") OR "s_dec" <= 90)),
    CONSTRAINT "check_tile_size" CHECK (("nx" >= 1) AND ("ny" >= 1) AND ("n_source" >= 0)),
    CONSTRAINT "check_tile_band" CHECK ((isnan("em_min") OR "em_min" > 0) AND (isnan("em_min") OR isnan("em_max") OR "em_min" <= "em_max"))
);
COMMENT ON TABLE "tile" IS 'One unit of parallel work and the patch of sky it covers; footprint columns carry their ObsCore names.';
COMMENT ON COLUMN "tile"."tile_id" IS 'tile number, below 2^26; the upper bits of the ids of its objects';
COMMENT ON COLUMN "tile"."name" IS 'name of the tile, unique in the run';
COMMENT ON COLUMN "tile"."run_id" IS 'the run in which the tile was processed';
COMMENT ON COLUMN "tile"."s_ra" IS 'right ascension of the tile''s centre, ICRS [deg]';
COMMENT ON COLUMN "tile"."s_dec" IS 'declination of the tile''s centre, ICRS [deg]';
COMMENT ON COLUMN "tile"."s_fov" IS 'diameter of the smallest circle around the tile''s centre that holds all its corners [deg]';
COMMENT ON COLUMN "tile"."s_region" IS 'outline of the tile as an STC-S polygon, ICRS';
COMMENT ON COLUMN "tile"."em_min" IS 'shortest vacuum wavelength of the tile''s bands [m]';
COMMENT ON COLUMN "tile"."em_max" IS 'longest vacuum wavelength of the tile''s bands [m]';
COMMENT ON COLUMN "tile"."t_exptime" IS 'exposure time; that of the shortest band where bands differ [s]';
COMMENT ON COLUMN "tile"."o_ucd" IS 'UCD of the observed quantity, such as phot.flux.density';
COMMENT ON COLUMN "tile"."nx" IS 'width of the tile [pixel]';
COMMENT ON COLUMN "tile"."ny" IS 'height of the tile [pixel]';
COMMENT ON COLUMN "tile"."x0" IS 'column of the larger image at which the tile begins; 0 for a tile with files of its own [pixel]';
COMMENT ON COLUMN "tile"."y0" IS 'row of the larger image at which the tile begins; 0 for a tile with files of its own [pixel]';
COMMENT ON COLUMN "tile"."pixel_scale" IS 'square root of the area of a pixel at the tile''s centre [arcsec/pixel]';
COMMENT ON COLUMN "tile"."input_digest" IS 'sha256 over the content of the tile''s input files, in hexadecimal';
COMMENT ON COLUMN "tile"."status" IS 'what became of the tile; done, cached, empty, failed, blocked or pending';
COMMENT ON COLUMN "tile"."n_source" IS 'number of the tile''s sources that the table source holds';
CREATE TABLE "source" (
    "source_id" BIGINT NOT NULL,
    "tile_id" BIGINT NOT NULL,
    "parent_source_id" BIGINT,
    "x" DOUBLE NOT NULL,
    "y" DOUBLE NOT NULL,
    "ra" DOUBLE,
    "dec" DOUBLE,
    "x_var" FLOAT,
    "y_var" FLOAT,
    "xy_cov" FLOAT,
    "x_min" INTEGER NOT NULL,
    "x_max" INTEGER NOT NULL,
    "y_min" INTEGER NOT NULL,
    "y_max" INTEGER NOT NULL,
    "n_pixels" INTEGER NOT NULL,
    "significance" FLOAT NOT NULL,
    "n_child" INTEGER NOT NULL,
    "blendedness" FLOAT,
    "primary" BOOLEAN NOT NULL,
    "probability" FLOAT,
    "probability_err" FLOAT,
    "star_probability" FLOAT,
    "flags" INTEGER NOT NULL,
    "_healpix_29" BIGINT,
    PRIMARY KEY ("source_id"),
    FOREIGN KEY ("tile_id") REFERENCES "tile" ("tile_id"),
    FOREIGN KEY ("parent_source_id") REFERENCES "source" ("source_id"),
    CONSTRAINT "check_source_position" CHECK ((isnan("ra") OR "ra" >= 0) AND (isnan("ra") OR "ra" < 360) AND (isnan("dec") OR "dec" >= -90) AND (isnan("dec") OR "dec" <= 90)),
    CONSTRAINT "check_source_box" CHECK (("x_min" < "x_max") AND ("y_min" < "y_max") AND ("n_pixels" >= 1)),
    CONSTRAINT "check_source_variance" CHECK ((isnan("x_var") OR "x_var" >= 0) AND (isnan("y_var") OR "y_var" >= 0) AND ("n_child" >= 0))
);
COMMENT ON TABLE "source" IS 'A detected and deblended object of an image, in the pixels of its tile and on the sky.';
COMMENT ON COLUMN "source"."source_id" IS 'deterministic identifier below 2^53; tile number in the upper 26 bits, then a 27-bit counter in (y, x) order';
COMMENT ON COLUMN "source"."tile_id" IS 'the tile on which the source was measured';
COMMENT ON COLUMN "source"."parent_source_id" IS 'the source this one was split off from; null for one that was not split off';
COMMENT ON COLUMN "source"."x" IS 'column of the centroid in the tile''s own pixels; the centre of the first pixel is 0 [pixel]';
COMMENT ON COLUMN "source"."y" IS 'row of the centroid in the tile''s own pixels; the centre of the first pixel is 0 [pixel]';
COMMENT ON COLUMN "source"."ra" IS 'right ascension of the centroid, ICRS; NaN where the image has no usable world coordinates [deg]';
COMMENT ON COLUMN "source"."dec" IS 'declination of the centroid, ICRS; NaN where the image has no usable world coordinates [deg]';
COMMENT ON COLUMN "source"."x_var" IS 'variance of x [pixel**2]';
COMMENT ON COLUMN "source"."y_var" IS 'variance of y [pixel**2]';
COMMENT ON COLUMN "source"."xy_cov" IS 'covariance of x and y [pixel**2]';
COMMENT ON COLUMN "source"."x_min" IS 'first column of the footprint''s bounding box [pixel]';
COMMENT ON COLUMN "source"."x_max" IS 'column after the last one of the footprint''s bounding box [pixel]';
COMMENT ON COLUMN "source"."y_min" IS 'first row of the footprint''s bounding box [pixel]';
COMMENT ON COLUMN "source"."y_max" IS 'row after the last one of the footprint''s bounding box [pixel]';
COMMENT ON COLUMN "source"."n_pixels" IS 'number of pixels in the footprint [pixel]';
COMMENT ON COLUMN "source"."significance" IS 'peak signal-to-noise ratio of the footprint in the detection image';
COMMENT ON COLUMN "source"."n_child" IS 'number of sources split off from this one';
COMMENT ON COLUMN "source"."blendedness" IS 'fraction of the flux inside the footprint that belongs to other sources';
COMMENT ON COLUMN "source"."primary" IS 'the centroid lies in the half-open core cell of its tile, so that this row counts where tiles overlap';
COMMENT ON COLUMN "source"."probability" IS 'calibrated probability that the detection is a real source; null where the detector gives none';
COMMENT ON COLUMN "source"."probability_err" IS 'epistemic standard deviation of the probability, between the members of an ensemble or dropout samples';
COMMENT ON COLUMN "source"."star_probability" IS 'probability that the source is unresolved; null where it was not judged';
COMMENT ON COLUMN "source"."flags" IS 'bits of astrosurvey.catalog.flags.SOURCE';
COMMENT ON COLUMN "source"."_healpix_29" IS 'nested HEALPix index of order 29 of ra and dec; null where there is no position';
CREATE TABLE "photometry" (
    "source_id" BIGINT NOT NULL,
    "band" VARCHAR NOT NULL,
    "method" VARCHAR NOT NULL,
    "tile_id" BIGINT NOT NULL,
    "flux" FLOAT,
    "flux_err" FLOAT,
    "radius" FLOAT,
    "half_light_radius" FLOAT,
    "semi_major" FLOAT,
    "semi_minor" FLOAT,
    "theta" FLOAT,
    "sersic_radius" FLOAT,
    "n_sersic" FLOAT,
    "masked_fraction" FLOAT,
    "flags" INTEGER NOT NULL,
    PRIMARY KEY ("source_id", "band", "method"),
    FOREIGN KEY ("source_id") REFERENCES "source" ("source_id"),
    FOREIGN KEY ("tile_id") REFERENCES "tile" ("tile_id"),
    CONSTRAINT "check_photometry_size" CHECK ((isnan("flux_err") OR "flux_err" >= 0) AND (isnan("radius") OR "radius" >= 0) AND (isnan("half_light_radius") OR "half_light_radius" >= 0) AND (isnan("semi_major") OR "semi_major" >= 0) AND (isnan("semi_minor") OR "semi_minor" >= 0) AND (isnan("sersic_radius") OR "sersic_radius" >= 0)),
    CONSTRAINT "check_photometry_masked" CHECK ((isnan("masked_fraction") OR "masked_fraction" >= 0) AND (isnan("masked_fraction") OR "masked_fraction" <= 1))
);
COMMENT ON TABLE "photometry" IS 'One flux of a source in one band by one method; the long form, of which a wide view is generated.';
COMMENT ON COLUMN "photometry"."source_id" IS 'the source';
COMMENT ON COLUMN "photometry"."band" IS 'name of the band';
COMMENT ON COLUMN "photometry"."method" IS 'how the flux was measured, such as kron or aperture_3 (the radius in pixels)';
COMMENT ON COLUMN "photometry"."tile_id" IS 'the tile on which the flux was measured';
COMMENT ON COLUMN "photometry"."flux" IS 'flux density; AB magnitude = 31.4 - 2.5 log10(flux) [nJy]';
COMMENT ON COLUMN "photometry"."flux_err" IS 'standard error of the flux [nJy]';
COMMENT ON COLUMN "photometry"."radius" IS 'radius of the aperture; for elliptical apertures (kron) the length of its semi-major axis [pixel]';
COMMENT ON COLUMN "photometry"."half_light_radius" IS 'radius that holds half of the flux [pixel]';
COMMENT ON COLUMN "photometry"."semi_major" IS 'standard deviation of the light along its major axis, from second moments [pixel]';
COMMENT ON COLUMN "photometry"."semi_minor" IS 'standard deviation of the light along its minor axis, from second moments [pixel]';
COMMENT ON COLUMN "photometry"."theta" IS 'angle of the major axis from the +x axis towards +y [deg]';
COMMENT ON COLUMN "photometry"."sersic_radius" IS 'half-light semi-major axis of the Sersic model before the point-spread function; 0 for a star [pixel]';
COMMENT ON COLUMN "photometry"."n_sersic" IS 'index of the Sersic model';
COMMENT ON COLUMN "photometry"."masked_fraction" IS 'fraction of the aperture''s area that is unusable or outside the tile';
COMMENT ON COLUMN "photometry"."flags" IS 'bits of astrosurvey.catalog.flags.SOURCE';
CREATE TABLE "cube_source" (
    "source_id" BIGINT NOT NULL,
    "tile_id" BIGINT NOT NULL,
    "x" DOUBLE NOT NULL,
    "y" DOUBLE NOT NULL,
    "z" DOUBLE NOT NULL,
    "ra" DOUBLE,
    "dec" DOUBLE,
    "frequency" DOUBLE,
    "x_min" INTEGER NOT NULL,
    "x_max" INTEGER NOT NULL,
    "y_min" INTEGER NOT NULL,
    "y_max" INTEGER NOT NULL,
    "z_min" INTEGER NOT NULL,
    "z_max" INTEGER NOT NULL,
    "n_voxels" INTEGER NOT NULL,
    "significance" FLOAT NOT NULL,
    "integrated_flux" DOUBLE,
    "integrated_flux_err" DOUBLE,
    "w20" FLOAT,
    "w50" FLOAT,
    "hi_size" FLOAT,
    "position_angle" FLOAT,
    "inclination" FLOAT,
    "reliability" FLOAT,
    "primary" BOOLEAN NOT NULL,
    "flags" INTEGER NOT NULL,
    "_healpix_29" BIGINT,
    PRIMARY KEY ("source_id"),
    FOREIGN KEY ("tile_id") REFERENCES "tile" ("tile_id"),
    CONSTRAINT "check_cube_source_position" CHECK ((isnan("ra") OR "ra" >= 0) AND (isnan("ra") OR "ra" < 360) AND (isnan("dec") OR "dec" >= -90) AND (isnan("dec") OR "dec" <= 90)),
    CONSTRAINT "check_cube_source_box" CHECK (("x_min" < "x_max") AND ("y_min" < "y_max") AND ("z_min" < "z_max") AND ("n_voxels" >= 1)),
    CONSTRAINT "check_cube_source_size" CHECK ((isnan("frequency") OR "frequency" > 0) AND (isnan("integrated_flux_err") OR "integrated_flux_err" >= 0) AND (isnan("w20") OR "w20" >= 0) AND (isnan("w50") OR "w50" >= 0) AND (isnan("hi_size") OR "hi_size" >= 0)),
    CONSTRAINT "check_cube_source_angle" CHECK ((isnan("position_angle") OR "position_angle" >= 0) AND (isnan("position_angle") OR "position_angle" < 360) AND (isnan("inclination") OR "inclination" >= 0) AND (isnan("inclination") OR "inclination" <= 90)),
    CONSTRAINT "check_cube_source_reliability" CHECK ((isnan("reliability") OR "reliability" >= 0) AND (isnan("reliability") OR "reliability" <= 1))
);
COMMENT ON TABLE "cube_source" IS 'An emission or absorption source of a spectral cube.';
COMMENT ON COLUMN "cube_source"."source_id" IS 'deterministic identifier below 2^53; tile number in the upper 26 bits, then a 27-bit counter';
COMMENT ON COLUMN "cube_source"."tile_id" IS 'the cube on which the source was measured';
COMMENT ON COLUMN "cube_source"."x" IS 'column of the flux-weighted centroid in the cube''s own pixels [pixel]';
COMMENT ON COLUMN "cube_source"."y" IS 'row of the flux-weighted centroid in the cube''s own pixels [pixel]';
COMMENT ON COLUMN "cube_source"."z" IS 'channel of the flux-weighted centroid, from 0 [pixel]';
COMMENT ON COLUMN "cube_source"."ra" IS 'right ascension of the centroid, ICRS [deg]';
COMMENT ON COLUMN "cube_source"."dec" IS 'declination of the centroid, ICRS [deg]';
COMMENT ON COLUMN "cube_source"."frequency" IS 'frequency of the flux-weighted line centre, in the cube''s spectral frame [Hz]';
COMMENT ON COLUMN "cube_source"."x_min" IS 'first column of the bounding box [pixel]';
COMMENT ON COLUMN "cube_source"."x_max" IS 'column after the last one of the bounding box [pixel]';
COMMENT ON COLUMN "cube_source"."y_min" IS 'first row of the bounding box [pixel]';
COMMENT ON COLUMN "cube_source"."y_max" IS 'row after the last one of the bounding box [pixel]';
COMMENT ON COLUMN "cube_source"."z_min" IS 'first channel of the bounding box [pixel]';
COMMENT ON COLUMN "cube_source"."z_max" IS 'channel after the last one of the bounding box [pixel]';
COMMENT ON COLUMN "cube_source"."n_voxels" IS 'number of voxels in the footprint';
COMMENT ON COLUMN "cube_source"."significance" IS 'signal-to-noise ratio of the integrated flux';
COMMENT ON COLUMN "cube_source"."integrated_flux" IS 'line flux, integrated over the footprint and over frequency [Jy.Hz]';
COMMENT ON COLUMN "cube_source"."integrated_flux_err" IS 'standard error of the integrated flux [Jy.Hz]';
COMMENT ON COLUMN "cube_source"."w20" IS 'width of the line at 20 per cent of its peak [km/s]';
COMMENT ON COLUMN "cube_source"."w50" IS 'width of the line at half of its peak [km/s]';
COMMENT ON COLUMN "cube_source"."hi_size" IS 'diameter of the major axis at a face-on column density of one solar mass per square parsec [arcsec]';
COMMENT ON COLUMN "cube_source"."position_angle" IS 'position angle of the receding side of the major axis, from north through east [deg]';
COMMENT ON COLUMN "cube_source"."inclination" IS 'angle between the disk''s rotation axis and the line of sight; 0 is face-on [deg]';
COMMENT ON COLUMN "cube_source"."reliability" IS 'probability that the source is real';
COMMENT ON COLUMN "cube_source"."primary" IS 'the centroid lies in the half-open core cell of its tile';
COMMENT ON COLUMN "cube_source"."flags" IS 'bits of astrosurvey.catalog.flags.SOURCE';
COMMENT ON COLUMN "cube_source"."_healpix_29" IS 'nested HEALPix index of order 29 of ra and dec; null where there is no position';
CREATE TABLE "spectrum" (
    "spectrum_id" BIGINT NOT NULL,
    "source_id" BIGINT,
    "tile_id" BIGINT NOT NULL,
    "name" VARCHAR,
    "ra" DOUBLE,
    "dec" DOUBLE,
    "mjd" DOUBLE,
    "exposure" DOUBLE,
    "frame" VARCHAR NOT NULL,
    "resolution" FLOAT,
    "n_pixel" INTEGER NOT NULL,
    "wave_min" DOUBLE NOT NULL,
    "wave_max" DOUBLE NOT NULL,
    "snr" FLOAT,
    "path" VARCHAR,
    "wave" DOUBLE[],
    "flux" FLOAT[],
    "ivar" FLOAT[],
    "mask" INTEGER[],
    "flags" INTEGER NOT NULL,
    "_healpix_29" BIGINT,
    PRIMARY KEY ("spectrum_id"),
    FOREIGN KEY ("source_id") REFERENCES "source" ("source_id"),
    FOREIGN KEY ("tile_id") REFERENCES "tile" ("tile_id"),
    CONSTRAINT "check_spectrum_position" CHECK ((isnan("ra") OR "ra" >= 0) AND (isnan("ra") OR "ra" < 360) AND (isnan("dec") OR "dec" >= -90) AND (isnan("dec") OR "dec" <= 90)),
    CONSTRAINT "check_spectrum_range" CHECK ((isnan("wave_min") OR "wave_min" > 0) AND (isnan("wave_min") OR isnan("wave_max") OR "wave_min" <= "wave_max") AND ("n_pixel" >= 1))
);
COMMENT ON TABLE "spectrum" IS 'A one-dimensional spectrum, as arrays in the row or as a path to a file.';
COMMENT ON COLUMN "spectrum"."spectrum_id" IS 'deterministic identifier below 2^53; tile number in the upper 26 bits, then the row of the tile''s spectra';
COMMENT ON COLUMN "spectrum"."source_id" IS 'the source the spectrum was taken of; null when none is known';
COMMENT ON COLUMN "spectrum"."tile_id" IS 'the block of spectra it came with';
COMMENT ON COLUMN "spectrum"."name" IS 'name given to the object or spectrum in its file';
COMMENT ON COLUMN "spectrum"."ra" IS 'right ascension of the fibre or slit, ICRS [deg]';
COMMENT ON COLUMN "spectrum"."dec" IS 'declination of the fibre or slit, ICRS [deg]';
COMMENT ON COLUMN "spectrum"."mjd" IS 'middle of the exposure as Modified Julian Date, UTC [d]';
COMMENT ON COLUMN "spectrum"."exposure" IS 'exposure time [s]';
COMMENT ON COLUMN "spectrum"."frame" IS 'rest frame of the wavelengths; topocentric, heliocentric, barycentric, source or unknown';
COMMENT ON COLUMN "spectrum"."resolution" IS 'resolving power, wavelength over full width at half maximum, at the middle of the range';
COMMENT ON COLUMN "spectrum"."n_pixel" IS 'number of wavelength samples';
COMMENT ON COLUMN "spectrum"."wave_min" IS 'shortest wavelength with data, in vacuum [Angstrom]';
COMMENT ON COLUMN "spectrum"."wave_max" IS 'longest wavelength with data, in vacuum [Angstrom]';
COMMENT ON COLUMN "spectrum"."snr" IS 'median signal-to-noise ratio per sample';
COMMENT ON COLUMN "spectrum"."path" IS 'name of the file that holds the spectrum; null when it is in none';
COMMENT ON COLUMN "spectrum"."wave" IS 'wavelengths of the samples, in vacuum [Angstrom]';
COMMENT ON COLUMN "spectrum"."flux" IS 'flux density per unit frequency of the samples [nJy]';
COMMENT ON COLUMN "spectrum"."ivar" IS 'inverse variance of the samples; 0 where a sample says nothing [nJy**-2]';
COMMENT ON COLUMN "spectrum"."mask" IS 'mask bits of the samples; 0 is good';
COMMENT ON COLUMN "spectrum"."flags" IS 'bits of astrosurvey.catalog.flags.SPECTRUM';
COMMENT ON COLUMN "spectrum"."_healpix_29" IS 'nested HEALPix index of order 29 of ra and dec; null where there is no position';
CREATE TABLE "redshift" (
    "spectrum_id" BIGINT NOT NULL,
    "rank" SMALLINT NOT NULL,
    "source_id" BIGINT,
    "z" DOUBLE,
    "z_err" DOUBLE,
    "chi2" DOUBLE,
    "dof" INTEGER,
    "delta_chi2" DOUBLE,
    "spectral_class" VARCHAR,
    "template" VARCHAR,
    "method" VARCHAR NOT NULL,
    "z_warning" INTEGER NOT NULL,
    "probability" FLOAT,
    PRIMARY KEY ("spectrum_id", "rank"),
    FOREIGN KEY ("spectrum_id") REFERENCES "spectrum" ("spectrum_id"),
    FOREIGN KEY ("source_id") REFERENCES "source" ("source_id"),
    CONSTRAINT "check_redshift_rank" CHECK (("rank" >= 0) AND (isnan("z_err") OR "z_err" >= 0) AND (isnan("chi2") OR "chi2" >= 0) AND (isnan("delta_chi2") OR "delta_chi2" >= 0) AND ("dof" >= 1) AND (isnan("probability") OR "probability" >= 0) AND (isnan("probability") OR "probability" <= 1)),
    CONSTRAINT "check_redshift_z" CHECK ((isnan("z") OR "z" > -1))
);
COMMENT ON TABLE "redshift" IS 'The best redshifts of a spectrum, of which rank 0 is the answer and the rest are the runners-up.';
COMMENT ON COLUMN "redshift"."spectrum_id" IS 'the spectrum';
COMMENT ON COLUMN "redshift"."rank" IS 'place among the redshifts of the spectrum; 0 for the best, up to 4';
COMMENT ON COLUMN "redshift"."source_id" IS 'the source of the spectrum, where known';
COMMENT ON COLUMN "redshift"."z" IS 'redshift in the frame of the spectrum';
COMMENT ON COLUMN "redshift"."z_err" IS 'standard error of the redshift';
COMMENT ON COLUMN "redshift"."chi2" IS 'chi-square of the fit';
COMMENT ON COLUMN "redshift"."dof" IS 'degrees of freedom of the fit';
COMMENT ON COLUMN "redshift"."delta_chi2" IS 'chi-square of the next distinct redshift minus this one';
COMMENT ON COLUMN "redshift"."spectral_class" IS 'class of the template, such as star, galaxy or qso';
COMMENT ON COLUMN "redshift"."template" IS 'name of the best template';
COMMENT ON COLUMN "redshift"."method" IS 'stage that measured the redshift';
COMMENT ON COLUMN "redshift"."z_warning" IS 'warning bits; 0 is a safe redshift';
COMMENT ON COLUMN "redshift"."probability" IS 'calibrated probability that this redshift is the right one; null where the method gives none';
CREATE TABLE "classification" (
    "object_table" VARCHAR NOT NULL,
    "object_id" BIGINT NOT NULL,
    "classifier" VARCHAR NOT NULL,
    "label" VARCHAR NOT NULL,
    "source_id" BIGINT,
    "probability" FLOAT NOT NULL,
    "probability_err" FLOAT,
    "ood_score" FLOAT,
    "model_digest" VARCHAR,
    "flags" INTEGER NOT NULL,
    PRIMARY KEY ("object_table", "object_id", "classifier", "label"),
    FOREIGN KEY ("source_id") REFERENCES "source" ("source_id"),
    CONSTRAINT "check_classification_probability" CHECK ((isnan("probability") OR "probability" >= 0) AND (isnan("probability") OR "probability" <= 1) AND (isnan("probability_err") OR "probability_err" >= 0)),
    CONSTRAINT "check_classification_object" CHECK ("object_table" IN ('source', 'cube_source', 'spectrum'))
);
COMMENT ON TABLE "classification" IS 'The probability one classifier gives to one label of one object.';
COMMENT ON COLUMN "classification"."object_table" IS 'the table that object_id points into; source, cube_source or spectrum';
COMMENT ON COLUMN "classification"."object_id" IS 'key of the object in that table';
COMMENT ON COLUMN "classification"."classifier" IS 'name of the classifier';
COMMENT ON COLUMN "classification"."label" IS 'the label';
COMMENT ON COLUMN "classification"."source_id" IS 'the source that the object is or belongs to, where known';
COMMENT ON COLUMN "classification"."probability" IS 'calibrated probability of the label';
COMMENT ON COLUMN "classification"."probability_err" IS 'standard deviation of the probability over the ensemble';
COMMENT ON COLUMN "classification"."ood_score" IS 'out-of-distribution score; larger is less like the training data';
COMMENT ON COLUMN "classification"."model_digest" IS 'sha256 of the model''s weights, in hexadecimal';
COMMENT ON COLUMN "classification"."flags" IS 'bits that say why a probability should not be trusted; 0 is good';
CREATE TABLE "embedding" (
    "object_table" VARCHAR NOT NULL,
    "object_id" BIGINT NOT NULL,
    "model" VARCHAR NOT NULL,
    "source_id" BIGINT,
    "vector" FLOAT[] NOT NULL,
    "ood_score" FLOAT,
    "model_digest" VARCHAR,
    PRIMARY KEY ("object_table", "object_id", "model"),
    FOREIGN KEY ("source_id") REFERENCES "source" ("source_id"),
    CONSTRAINT "check_embedding_object" CHECK ("object_table" IN ('source', 'cube_source', 'spectrum'))
);
COMMENT ON TABLE "embedding" IS 'The vector by which a model represents an object.';
COMMENT ON COLUMN "embedding"."object_table" IS 'the table that object_id points into; source, cube_source or spectrum';
COMMENT ON COLUMN "embedding"."object_id" IS 'key of the object in that table';
COMMENT ON COLUMN "embedding"."model" IS 'name of the model';
COMMENT ON COLUMN "embedding"."source_id" IS 'the source that the object is or belongs to, where known';
COMMENT ON COLUMN "embedding"."vector" IS 'the representation; every row of one model has the same length';
COMMENT ON COLUMN "embedding"."ood_score" IS 'out-of-distribution score; larger is less like the training data';
COMMENT ON COLUMN "embedding"."model_digest" IS 'sha256 of the model''s weights, in hexadecimal';
CREATE TABLE "cluster" (
    "cluster_id" BIGINT NOT NULL,
    "parent_cluster_id" BIGINT,
    "method" VARCHAR NOT NULL,
    "level" INTEGER NOT NULL,
    "n_member" BIGINT NOT NULL,
    "ra" DOUBLE,
    "dec" DOUBLE,
    "significance" FLOAT,
    "stability" FLOAT,
    "_healpix_29" BIGINT,
    PRIMARY KEY ("cluster_id"),
    FOREIGN KEY ("parent_cluster_id") REFERENCES "cluster" ("cluster_id"),
    CONSTRAINT "check_cluster_position" CHECK ((isnan("ra") OR "ra" >= 0) AND (isnan("ra") OR "ra" < 360) AND (isnan("dec") OR "dec" >= -90) AND (isnan("dec") OR "dec" <= 90)),
    CONSTRAINT "check_cluster_member" CHECK (("n_member" >= 1) AND ("level" >= 0))
);
COMMENT ON TABLE "cluster" IS 'A group of sources found by a clustering method, possibly inside a larger group.';
COMMENT ON COLUMN "cluster"."cluster_id" IS 'deterministic identifier below 2^53';
COMMENT ON COLUMN "cluster"."parent_cluster_id" IS 'the smallest cluster that holds this one; null at the top of the hierarchy';
COMMENT ON COLUMN "cluster"."method" IS 'stage that found the cluster';
COMMENT ON COLUMN "cluster"."level" IS 'depth in the hierarchy; 0 at the top';
COMMENT ON COLUMN "cluster"."n_member" IS 'number of members';
COMMENT ON COLUMN "cluster"."ra" IS 'right ascension of the members'' mean direction, ICRS [deg]';
COMMENT ON COLUMN "cluster"."dec" IS 'declination of the members'' mean direction, ICRS [deg]';
COMMENT ON COLUMN "cluster"."significance" IS 'excess over the background in standard deviations';
COMMENT ON COLUMN "cluster"."stability" IS 'how long the cluster lasts as the density threshold moves; larger is more stable';
COMMENT ON COLUMN "cluster"."_healpix_29" IS 'nested HEALPix index of order 29 of ra and dec; null where there is no position';
CREATE TABLE "cluster_member" (
    "cluster_id" BIGINT NOT NULL,
    "source_id" BIGINT NOT NULL,
    "probability" FLOAT,
    "outlier_score" FLOAT,
    PRIMARY KEY ("cluster_id", "source_id"),
    FOREIGN KEY ("cluster_id") REFERENCES "cluster" ("cluster_id"),
    FOREIGN KEY ("source_id") REFERENCES "source" ("source_id"),
    CONSTRAINT "check_cluster_member_probability" CHECK ((isnan("probability") OR "probability" >= 0) AND (isnan("probability") OR "probability" <= 1))
);
COMMENT ON TABLE "cluster_member" IS 'Which source belongs to which cluster.';
COMMENT ON COLUMN "cluster_member"."cluster_id" IS 'the cluster';
COMMENT ON COLUMN "cluster_member"."source_id" IS 'the source';
COMMENT ON COLUMN "cluster_member"."probability" IS 'probability of membership';
COMMENT ON COLUMN "cluster_member"."outlier_score" IS 'how far the source lies outside the cluster''s body; 0 is in its midst';
CREATE TABLE "posterior" (
    "posterior_id" BIGINT NOT NULL,
    "source_id" BIGINT,
    "spectrum_id" BIGINT,
    "tile_id" BIGINT,
    "model" VARCHAR NOT NULL,
    "method" VARCHAR NOT NULL,
    "parameter_names" VARCHAR NOT NULL,
    "parameter_units" VARCHAR NOT NULL,
    "quantile_levels" FLOAT[],
    "quantiles" DOUBLE[],
    "mean" DOUBLE[],
    "std" DOUBLE[],
    "map" DOUBLE[],
    "log_density" DOUBLE,
    "n_draw" BIGINT NOT NULL,
    "acceptance" FLOAT,
    "n_effective" FLOAT,
    "pareto_k" FLOAT,
    "log_evidence" DOUBLE,
    "log_evidence_err" DOUBLE,
    "calibration_error" FLOAT,
    "ood_score" FLOAT,
    "ood_p" FLOAT,
    "model_digest" VARCHAR,
    "flags" INTEGER NOT NULL,
    PRIMARY KEY ("posterior_id"),
    FOREIGN KEY ("source_id") REFERENCES "source" ("source_id"),
    FOREIGN KEY ("spectrum_id") REFERENCES "spectrum" ("spectrum_id"),
    FOREIGN KEY ("tile_id") REFERENCES "tile" ("tile_id"),
    CONSTRAINT "check_posterior_number" CHECK (("n_draw" >= 0) AND (isnan("log_evidence_err") OR "log_evidence_err" >= 0))
);
COMMENT ON TABLE "posterior" IS 'A posterior distribution of physical parameters, by its quantiles and calibration.';
COMMENT ON COLUMN "posterior"."posterior_id" IS 'deterministic identifier below 2^53';
COMMENT ON COLUMN "posterior"."source_id" IS 'the source the posterior is about';
COMMENT ON COLUMN "posterior"."spectrum_id" IS 'the spectrum the posterior is about';
COMMENT ON COLUMN "posterior"."tile_id" IS 'the tile the posterior is about';
COMMENT ON COLUMN "posterior"."model" IS 'name of the physical model';
COMMENT ON COLUMN "posterior"."method" IS 'stage that inferred the posterior';
COMMENT ON COLUMN "posterior"."parameter_names" IS 'names of the parameters, separated by commas';
COMMENT ON COLUMN "posterior"."parameter_units" IS 'VOUnits of the parameters, separated by commas; empty between commas is dimensionless';
COMMENT ON COLUMN "posterior"."quantile_levels" IS 'probabilities at which quantiles are given, ascending';
COMMENT ON COLUMN "posterior"."quantiles" IS 'quantiles in the units of parameter_units; all levels of the first parameter, then of the second, and so on';
COMMENT ON COLUMN "posterior"."mean" IS 'mean of each parameter, in the units of parameter_units';
COMMENT ON COLUMN "posterior"."std" IS 'standard deviation of each parameter, in the units of parameter_units';
COMMENT ON COLUMN "posterior"."map" IS 'the most probable of the draws (maximum a posteriori), in the units of parameter_units';
COMMENT ON COLUMN "posterior"."log_density" IS 'natural logarithm of the posterior density at the mean, and at the map of categorical parameters; where the evidence is unknown to a method, up to a constant';
COMMENT ON COLUMN "posterior"."n_draw" IS 'number of draws that the posterior was summarised from';
COMMENT ON COLUMN "posterior"."acceptance" IS 'fraction of the draws that the prior allowed, or of the moves that were accepted';
COMMENT ON COLUMN "posterior"."n_effective" IS 'effective number of independent draws after they were weighed by the likelihood; null where they were not weighed';
COMMENT ON COLUMN "posterior"."pareto_k" IS 'shape of the generalised Pareto distribution of the largest of these weights; beyond 0.7 nothing that rests on them can be trusted';
COMMENT ON COLUMN "posterior"."log_evidence" IS 'natural logarithm of the evidence';
COMMENT ON COLUMN "posterior"."log_evidence_err" IS 'standard error of the log-evidence';
COMMENT ON COLUMN "posterior"."calibration_error" IS 'largest difference between nominal and empirical coverage found when the method was tested';
COMMENT ON COLUMN "posterior"."ood_score" IS 'out-of-distribution score of the data; larger is less like the simulations';
COMMENT ON COLUMN "posterior"."ood_p" IS 'fraction of the simulations that are at least as unlike the others as these data; near 0 the data are not like them';
COMMENT ON COLUMN "posterior"."model_digest" IS 'sha256 of the model''s weights, in hexadecimal; null for likelihood-based methods';
COMMENT ON COLUMN "posterior"."flags" IS 'bits that say why the posterior should not be trusted; 0 is good';
CREATE TABLE "posterior_sample" (
    "posterior_id" BIGINT NOT NULL,
    "draw" INTEGER NOT NULL,
    "parameters" DOUBLE[] NOT NULL,
    "log_weight" DOUBLE,
    "log_likelihood" DOUBLE,
    PRIMARY KEY ("posterior_id", "draw"),
    FOREIGN KEY ("posterior_id") REFERENCES "posterior" ("posterior_id"),
    CONSTRAINT "check_posterior_sample_draw" CHECK (("draw" >= 0))
);
COMMENT ON TABLE "posterior_sample" IS 'Draws from a posterior.';
COMMENT ON COLUMN "posterior_sample"."posterior_id" IS 'the posterior';
COMMENT ON COLUMN "posterior_sample"."draw" IS 'number of the draw, from 0';
COMMENT ON COLUMN "posterior_sample"."parameters" IS 'the parameters, in the order and units that the posterior gives';
COMMENT ON COLUMN "posterior_sample"."log_weight" IS 'natural logarithm of the importance weight; null when all draws weigh the same';
COMMENT ON COLUMN "posterior_sample"."log_likelihood" IS 'natural logarithm of the likelihood; null for likelihood-free methods';
CREATE TABLE "model_comparison" (
    "comparison_id" BIGINT NOT NULL,
    "model" VARCHAR NOT NULL,
    "posterior_id" BIGINT,
    "method" VARCHAR NOT NULL,
    "log_evidence" DOUBLE,
    "log_evidence_err" DOUBLE,
    "probability" DOUBLE,
    "probability_err" DOUBLE,
    "effective_sample_size" DOUBLE,
    "n_evaluation" BIGINT,
    "flags" INTEGER NOT NULL,
    PRIMARY KEY ("comparison_id", "model"),
    FOREIGN KEY ("posterior_id") REFERENCES "posterior" ("posterior_id"),
    CONSTRAINT "check_model_comparison_probability" CHECK ((isnan("probability") OR "probability" >= 0) AND (isnan("probability") OR "probability" <= 1) AND (isnan("probability_err") OR "probability_err" >= 0) AND (isnan("log_evidence_err") OR "log_evidence_err" >= 0) AND ("n_evaluation" >= 0))
);
COMMENT ON TABLE "model_comparison" IS 'How probable each of several models of the same data is.';
COMMENT ON COLUMN "model_comparison"."comparison_id" IS 'deterministic identifier below 2^53, shared by the models that are compared';
COMMENT ON COLUMN "model_comparison"."model" IS 'name of the model';
COMMENT ON COLUMN "model_comparison"."posterior_id" IS 'the posterior of this model''s parameters';
COMMENT ON COLUMN "model_comparison"."method" IS 'stage that compared the models';
COMMENT ON COLUMN "model_comparison"."log_evidence" IS 'natural logarithm of the evidence; null for methods that give probabilities alone';
COMMENT ON COLUMN "model_comparison"."log_evidence_err" IS 'standard error of the log-evidence';
COMMENT ON COLUMN "model_comparison"."probability" IS 'posterior probability of the model, prior odds included';
COMMENT ON COLUMN "model_comparison"."probability_err" IS 'standard error of the probability';
COMMENT ON COLUMN "model_comparison"."effective_sample_size" IS 'effective number of independent draws behind the evidence';
COMMENT ON COLUMN "model_comparison"."n_evaluation" IS 'number of likelihood evaluations or simulations spent';
COMMENT ON COLUMN "model_comparison"."flags" IS 'bits that say why the comparison should not be trusted; 0 is good';
CREATE TABLE "truth" (
    "truth_id" BIGINT NOT NULL,
    "band" VARCHAR NOT NULL,
    "tile_id" BIGINT NOT NULL,
    "object_type" VARCHAR NOT NULL,
    "x" DOUBLE NOT NULL,
    "y" DOUBLE NOT NULL,
    "ra" DOUBLE NOT NULL,
    "dec" DOUBLE NOT NULL,
    "flux" DOUBLE NOT NULL,
    "redshift" FLOAT,
    "bulge_fraction" FLOAT,
    "half_light_radius" FLOAT,
    "semi_major" FLOAT,
    "semi_minor" FLOAT,
    "theta" FLOAT,
    "bulge_radius" FLOAT,
    "disk_radius" FLOAT,
    "n_sersic" FLOAT,
    "snr" FLOAT,
    "pair_id" BIGINT,
    "primary" BOOLEAN NOT NULL,
    "_healpix_29" BIGINT,
    PRIMARY KEY ("truth_id", "band"),
    FOREIGN KEY ("tile_id") REFERENCES "tile" ("tile_id"),
    CONSTRAINT "check_truth_position" CHECK ((isnan("ra") OR "ra" >= 0) AND (isnan("ra") OR "ra" < 360) AND (isnan("dec") OR "dec" >= -90) AND (isnan("dec") OR "dec" <= 90)),
    CONSTRAINT "check_truth_size" CHECK ((isnan("half_light_radius") OR "half_light_radius" >= 0) AND (isnan("semi_major") OR "semi_major" >= 0) AND (isnan("semi_minor") OR "semi_minor" >= 0) AND (isnan("bulge_radius") OR "bulge_radius" >= 0) AND (isnan("disk_radius") OR "disk_radius" >= 0)),
    CONSTRAINT "check_truth_fraction" CHECK ((isnan("bulge_fraction") OR "bulge_fraction" >= 0) AND (isnan("bulge_fraction") OR "bulge_fraction" <= 1)),
    CONSTRAINT "check_truth_type" CHECK ("object_type" IN ('star', 'galaxy'))
);
COMMENT ON TABLE "truth" IS 'What a simulation put in; one row per object and band, in the columns of source and photometry.';
COMMENT ON COLUMN "truth"."truth_id" IS 'identifier of the simulated object, the same on every tile that shows it';
COMMENT ON COLUMN "truth"."band" IS 'name of the band';
COMMENT ON COLUMN "truth"."tile_id" IS 'the tile on which the object was rendered';
COMMENT ON COLUMN "truth"."object_type" IS 'star or galaxy';
COMMENT ON COLUMN "truth"."x" IS 'column of the centre in the tile''s own pixels; may lie outside the tile [pixel]';
COMMENT ON COLUMN "truth"."y" IS 'row of the centre in the tile''s own pixels; may lie outside the tile [pixel]';
COMMENT ON COLUMN "truth"."ra" IS 'right ascension of the centre, ICRS [deg]';
COMMENT ON COLUMN "truth"."dec" IS 'declination of the centre, ICRS [deg]';
COMMENT ON COLUMN "truth"."flux" IS 'true total flux density in the band [nJy]';
COMMENT ON COLUMN "truth"."redshift" IS 'redshift; NaN for stars';
COMMENT ON COLUMN "truth"."bulge_fraction" IS 'fraction of the band''s flux in the bulge; NaN for stars';
COMMENT ON COLUMN "truth"."half_light_radius" IS 'circularised half-light radius before seeing; NaN for stars [pixel]';
COMMENT ON COLUMN "truth"."semi_major" IS 'semi-major axis of the ellipse that holds half the light before seeing; NaN for stars [pixel]';
COMMENT ON COLUMN "truth"."semi_minor" IS 'semi-minor axis of the ellipse that holds half the light before seeing; NaN for stars [pixel]';
COMMENT ON COLUMN "truth"."theta" IS 'angle of the major axis from the +x axis towards +y; NaN for stars [deg]';
COMMENT ON COLUMN "truth"."bulge_radius" IS 'half-light semi-major axis of the bulge; NaN where there is none [pixel]';
COMMENT ON COLUMN "truth"."disk_radius" IS 'half-light semi-major axis of the disk; NaN for stars [pixel]';
COMMENT ON COLUMN "truth"."n_sersic" IS 'index of the Sérsic profile of a galaxy of one component; NaN for stars';
COMMENT ON COLUMN "truth"."snr" IS 'signal-to-noise ratio with which the object''s own shape would find it, were it alone';
COMMENT ON COLUMN "truth"."pair_id" IS 'truth_id of the brighter member of the pair that the object was placed in; null for others';
COMMENT ON COLUMN "truth"."primary" IS 'the centre lies in the half-open core cell of its tile';
COMMENT ON COLUMN "truth"."_healpix_29" IS 'nested HEALPix index of order 29 of ra and dec; null where there is no position';
CREATE TABLE "spectral_line" (
    "spectrum_id" BIGINT NOT NULL,
    "line" VARCHAR NOT NULL,
    "source_id" BIGINT,
    "wave" DOUBLE NOT NULL,
    "z" DOUBLE NOT NULL,
    "line_flux" FLOAT,
    "line_flux_err" FLOAT,
    "snr" FLOAT,
    "equivalent_width" FLOAT,
    "equivalent_width_err" FLOAT,
    "sigma" FLOAT,
    "sigma_err" FLOAT,
    "velocity" FLOAT,
    "velocity_err" FLOAT,
    "continuum" FLOAT,
    "continuum_err" FLOAT,
    "reduced_chi2" FLOAT,
    "flags" INTEGER NOT NULL,
    PRIMARY KEY ("spectrum_id", "line"),
    FOREIGN KEY ("spectrum_id") REFERENCES "spectrum" ("spectrum_id"),
    FOREIGN KEY ("source_id") REFERENCES "source" ("source_id"),
    CONSTRAINT "check_spectral_line_errors" CHECK ((isnan("wave") OR "wave" > 0) AND (isnan("line_flux_err") OR "line_flux_err" >= 0) AND (isnan("equivalent_width_err") OR "equivalent_width_err" >= 0) AND (isnan("sigma") OR "sigma" >= 0) AND (isnan("sigma_err") OR "sigma_err" >= 0) AND (isnan("velocity_err") OR "velocity_err" >= 0))
);
COMMENT ON TABLE "spectral_line" IS 'What was measured of one emission line of one spectrum, with its own redshift taken out; negative fluxes are absorption.';
COMMENT ON COLUMN "spectral_line"."spectrum_id" IS 'the spectrum';
COMMENT ON COLUMN "spectral_line"."line" IS 'name of the line, such as halpha or oiii_5007; halpha_broad is a broad component';
COMMENT ON COLUMN "spectral_line"."source_id" IS 'the source of the spectrum, where known';
COMMENT ON COLUMN "spectral_line"."wave" IS 'wavelength of the line at rest, in vacuum [Angstrom]';
COMMENT ON COLUMN "spectral_line"."z" IS 'redshift at which the line was looked for';
COMMENT ON COLUMN "spectral_line"."line_flux" IS 'flux of the line as observed, in 1e-17 erg/s/cm2; of spectra with relative fluxes, their unit times Angstrom';
COMMENT ON COLUMN "spectral_line"."line_flux_err" IS 'standard error of the flux, with velocity, width and continuum free';
COMMENT ON COLUMN "spectral_line"."snr" IS 'flux over its standard error';
COMMENT ON COLUMN "spectral_line"."equivalent_width" IS 'equivalent width at rest; positive for emission [Angstrom]';
COMMENT ON COLUMN "spectral_line"."equivalent_width_err" IS 'standard error of the equivalent width [Angstrom]';
COMMENT ON COLUMN "spectral_line"."sigma" IS 'width of the line as the standard deviation of its Gaussian, the instrument removed where it is known [km s-1]';
COMMENT ON COLUMN "spectral_line"."sigma_err" IS 'standard error of the width [km s-1]';
COMMENT ON COLUMN "spectral_line"."velocity" IS 'velocity of the line with respect to the redshift [km s-1]';
COMMENT ON COLUMN "spectral_line"."velocity_err" IS 'standard error of the velocity [km s-1]';
COMMENT ON COLUMN "spectral_line"."continuum" IS 'flux density of the continuum under the line, in 1e-17 erg/s/cm2/Angstrom, or the unit of relative fluxes';
COMMENT ON COLUMN "spectral_line"."continuum_err" IS 'standard error of the continuum';
COMMENT ON COLUMN "spectral_line"."reduced_chi2" IS 'chi-square per degree of freedom of the fit around the line';
COMMENT ON COLUMN "spectral_line"."flags" IS 'bits that say why numbers are missing or doubtful; 0 is good';
CREATE TABLE "spectral_index" (
    "spectrum_id" BIGINT NOT NULL,
    "name" VARCHAR NOT NULL,
    "source_id" BIGINT,
    "strength" FLOAT,
    "strength_err" FLOAT,
    "unit" VARCHAR NOT NULL,
    "flags" INTEGER NOT NULL,
    PRIMARY KEY ("spectrum_id", "name"),
    FOREIGN KEY ("spectrum_id") REFERENCES "spectrum" ("spectrum_id"),
    FOREIGN KEY ("source_id") REFERENCES "source" ("source_id"),
    CONSTRAINT "check_spectral_index_error" CHECK ((isnan("strength_err") OR "strength_err" >= 0))
);
COMMENT ON TABLE "spectral_index" IS 'A spectral index of one spectrum, such as those of the Lick system or the break at 4000 Angstrom, at the spectrum''s own resolution.';
COMMENT ON COLUMN "spectral_index"."spectrum_id" IS 'the spectrum';
COMMENT ON COLUMN "spectral_index"."name" IS 'name of the index, such as mgb or dn4000';
COMMENT ON COLUMN "spectral_index"."source_id" IS 'the source of the spectrum, where known';
COMMENT ON COLUMN "spectral_index"."strength" IS 'the index, positive for absorption';
COMMENT ON COLUMN "spectral_index"."strength_err" IS 'standard error of the index';
COMMENT ON COLUMN "spectral_index"."unit" IS 'unit of the index; Angstrom, mag, or nothing for a ratio';
COMMENT ON COLUMN "spectral_index"."flags" IS 'bits that say why the number is missing or doubtful; 0 is good';
CREATE TABLE "spectrum_truth" (
    "spectrum_id" BIGINT NOT NULL,
    "tile_id" BIGINT NOT NULL,
    "spectral_class" VARCHAR NOT NULL,
    "subclass" VARCHAR NOT NULL,
    "z" DOUBLE,
    "snr" FLOAT,
    "template" VARCHAR,
    PRIMARY KEY ("spectrum_id"),
    FOREIGN KEY ("spectrum_id") REFERENCES "spectrum" ("spectrum_id"),
    FOREIGN KEY ("tile_id") REFERENCES "tile" ("tile_id"),
    CONSTRAINT "check_spectrum_truth_class" CHECK ("spectral_class" IN ('star', 'galaxy', 'quasar', 'sky', 'unknown'))
);
COMMENT ON TABLE "spectrum_truth" IS 'What a spectrum is, known because it was simulated or because someone who knows has labelled it.';
COMMENT ON COLUMN "spectrum_truth"."spectrum_id" IS 'the spectrum';
COMMENT ON COLUMN "spectrum_truth"."tile_id" IS 'the block of spectra it came with';
COMMENT ON COLUMN "spectrum_truth"."spectral_class" IS 'coarse class; star, galaxy, quasar, sky or unknown';
COMMENT ON COLUMN "spectrum_truth"."subclass" IS 'one of the thirteen fine classes in SDSS''s spelling; the spectral type or kind of objects that have none; or empty';
COMMENT ON COLUMN "spectrum_truth"."z" IS 'redshift, of a star its radial velocity in units of the speed of light; NaN where there is none';
COMMENT ON COLUMN "spectrum_truth"."snr" IS 'median over usable pixels of the flux without noise over its error';
COMMENT ON COLUMN "spectrum_truth"."template" IS 'what the spectrum was made of';
CREATE TABLE "cluster_point" (
    "source_id" BIGINT NOT NULL,
    "method" VARCHAR NOT NULL,
    "cluster_id" BIGINT,
    "probability" FLOAT,
    "outlier_score" FLOAT,
    "log_density" DOUBLE,
    "position" BIGINT,
    "flags" INTEGER NOT NULL,
    PRIMARY KEY ("source_id", "method"),
    FOREIGN KEY ("source_id") REFERENCES "source" ("source_id"),
    FOREIGN KEY ("cluster_id") REFERENCES "cluster" ("cluster_id"),
    CONSTRAINT "check_cluster_point_probability" CHECK ((isnan("probability") OR "probability" >= 0) AND (isnan("probability") OR "probability" <= 1) AND ("position" >= 0))
);
COMMENT ON TABLE "cluster_point" IS 'What a clustering method says of each source it was given, in a cluster or not.';
COMMENT ON COLUMN "cluster_point"."source_id" IS 'the source';
COMMENT ON COLUMN "cluster_point"."method" IS 'stage that clustered the sources';
COMMENT ON COLUMN "cluster_point"."cluster_id" IS 'the cluster it is put into, the smallest where clusters lie inside each other; null for none';
COMMENT ON COLUMN "cluster_point"."probability" IS 'probability of membership in that cluster';
COMMENT ON COLUMN "cluster_point"."outlier_score" IS 'how far the source lies outside a cluster''s body; 0 is in its midst';
COMMENT ON COLUMN "cluster_point"."log_density" IS 'natural logarithm of the density of sources around it, in the units of the scaled columns';
COMMENT ON COLUMN "cluster_point"."position" IS 'place in the order in which every cluster is a run of neighbours, for the ordered-density plot';
COMMENT ON COLUMN "cluster_point"."flags" IS 'bits of astrosurvey.catalog.flags.CLUSTERING';
CREATE TABLE "cluster_truth" (
    "source_id" BIGINT NOT NULL,
    "tile_id" BIGINT NOT NULL,
    "structure" INTEGER NOT NULL,
    "structure_type" VARCHAR NOT NULL,
    "tracer_id" BIGINT,
    PRIMARY KEY ("source_id"),
    FOREIGN KEY ("source_id") REFERENCES "source" ("source_id"),
    FOREIGN KEY ("tile_id") REFERENCES "tile" ("tile_id"),
    CONSTRAINT "check_cluster_truth_structure" CHECK (("structure" >= 0))
);
COMMENT ON TABLE "cluster_truth" IS 'To which structure a source belongs, known because it was simulated.';
COMMENT ON COLUMN "cluster_truth"."source_id" IS 'the source';
COMMENT ON COLUMN "cluster_truth"."tile_id" IS 'the tile, or snapshot, on which it was simulated';
COMMENT ON COLUMN "cluster_truth"."structure" IS 'number of the structure it belongs to, the same in every snapshot of an object with a tracer_id, and else one of its tile; 0 for the background';
COMMENT ON COLUMN "cluster_truth"."structure_type" IS 'what the structure is, such as clump, stream or background';
COMMENT ON COLUMN "cluster_truth"."tracer_id" IS 'number of the object that the source is, the same in every snapshot; null where there is one snapshot';
CREATE TABLE "cluster_event" (
    "cluster_id" BIGINT NOT NULL,
    "kind" VARCHAR NOT NULL,
    "snapshot" INTEGER NOT NULL,
    "time" DOUBLE NOT NULL,
    "other_cluster_id" BIGINT,
    "fraction" FLOAT,
    "n_member" BIGINT NOT NULL,
    PRIMARY KEY ("cluster_id", "kind"),
    FOREIGN KEY ("cluster_id") REFERENCES "cluster" ("cluster_id"),
    FOREIGN KEY ("other_cluster_id") REFERENCES "cluster" ("cluster_id"),
    CONSTRAINT "check_cluster_event_kind" CHECK ("kind" IN ('birth', 'death', 'merger', 'split')),
    CONSTRAINT "check_cluster_event_number" CHECK (("snapshot" >= 0) AND ("n_member" >= 1) AND (isnan("fraction") OR "fraction" >= 0) AND (isnan("fraction") OR "fraction" <= 1))
);
COMMENT ON TABLE "cluster_event" IS 'What happened to a cluster in the course of time.';
COMMENT ON COLUMN "cluster_event"."cluster_id" IS 'the cluster that begins or ends';
COMMENT ON COLUMN "cluster_event"."kind" IS 'birth or split where it begins, death or merger where it ends';
COMMENT ON COLUMN "cluster_event"."snapshot" IS 'place in time, from 0, of the first snapshot that has the cluster, or of the first after the last that has it';
COMMENT ON COLUMN "cluster_event"."time" IS 'time of that snapshot, in the simulation''s unit';
COMMENT ON COLUMN "cluster_event"."other_cluster_id" IS 'the cluster that it split off from or merged into; null for a birth or a death';
COMMENT ON COLUMN "cluster_event"."fraction" IS 'part of its members that the other cluster has just before it begins or just after it ends; null without another one';
COMMENT ON COLUMN "cluster_event"."n_member" IS 'members in the first, or the last, snapshot that has it';
CREATE TABLE "crossmatch" (
    "source_id" BIGINT NOT NULL,
    "rank" INTEGER NOT NULL,
    "ra" DOUBLE,
    "dec" DOUBLE,
    "other_id" BIGINT,
    "other_name" VARCHAR,
    "other_ra" DOUBLE,
    "other_dec" DOUBLE,
    "separation" DOUBLE,
    "separation_sigma" DOUBLE,
    "delta_ra" DOUBLE,
    "delta_dec" DOUBLE,
    "n_other" INTEGER,
    "n_source" INTEGER,
    "mutual" BOOLEAN,
    "flags" INTEGER NOT NULL,
    "_healpix_29" BIGINT,
    PRIMARY KEY ("source_id", "rank"),
    FOREIGN KEY ("source_id") REFERENCES "source" ("source_id"),
    CONSTRAINT "check_crossmatch_position" CHECK ((isnan("ra") OR "ra" >= 0) AND (isnan("ra") OR "ra" < 360) AND (isnan("dec") OR "dec" >= -90) AND (isnan("dec") OR "dec" <= 90)),
    CONSTRAINT "check_crossmatch_other" CHECK ((isnan("other_ra") OR "other_ra" >= 0) AND (isnan("other_ra") OR "other_ra" < 360) AND (isnan("other_dec") OR "other_dec" >= -90) AND (isnan("other_dec") OR "other_dec" <= 90)),
    CONSTRAINT "check_crossmatch_counts" CHECK (("rank" >= 0) AND (isnan("separation") OR "separation" >= 0) AND (isnan("separation_sigma") OR "separation_sigma" >= 0) AND ("n_other" >= 0) AND ("n_source" >= 1))
);
COMMENT ON TABLE "crossmatch" IS 'The counterparts of sources in another catalogue, by position; a source without one has a row, too.';
COMMENT ON COLUMN "crossmatch"."source_id" IS 'the source';
COMMENT ON COLUMN "crossmatch"."rank" IS 'place among the counterparts of the source; 0 for the best one, and where there is none';
COMMENT ON COLUMN "crossmatch"."ra" IS 'right ascension of the source, ICRS; NaN where it is not known [deg]';
COMMENT ON COLUMN "crossmatch"."dec" IS 'declination of the source, ICRS; NaN where it is not known [deg]';
COMMENT ON COLUMN "crossmatch"."other_id" IS 'number of the counterpart in the other catalogue; its row in the file, from 0, where it has no number of its own; null for none';
COMMENT ON COLUMN "crossmatch"."other_name" IS 'name of the counterpart in the other catalogue, where its identifiers are texts';
COMMENT ON COLUMN "crossmatch"."other_ra" IS 'right ascension of the counterpart, ICRS, at the epoch of the match; null for none [deg]';
COMMENT ON COLUMN "crossmatch"."other_dec" IS 'declination of the counterpart, ICRS, at the epoch of the match; null for none [deg]';
COMMENT ON COLUMN "crossmatch"."separation" IS 'great-circle distance of the counterpart from the source; null for none [arcsec]';
COMMENT ON COLUMN "crossmatch"."separation_sigma" IS 'separation over the combined standard error of both positions along one axis; null where no error is known';
COMMENT ON COLUMN "crossmatch"."delta_ra" IS 'how far east of the source the counterpart is, on the sky [arcsec]';
COMMENT ON COLUMN "crossmatch"."delta_dec" IS 'how far north of the source the counterpart is [arcsec]';
COMMENT ON COLUMN "crossmatch"."n_other" IS 'counterparts within reach of the source; null where it has no position';
COMMENT ON COLUMN "crossmatch"."n_source" IS 'sources within reach of the counterpart, this one included; null for none';
COMMENT ON COLUMN "crossmatch"."mutual" IS 'each is the other''s best counterpart; null for none';
COMMENT ON COLUMN "crossmatch"."flags" IS 'bits of astrosurvey.catalog.flags.CROSSMATCH';
COMMENT ON COLUMN "crossmatch"."_healpix_29" IS 'nested HEALPix index of order 29 of ra and dec; null where there is no position';
